"""`chunkllm serve` for the tests of its clients."""
import re
import subprocess
import threading


class Server:
    """A server of the model on a free port, at `url`; it keeps no files."""

    def __init__(self, program, model, adapter, *options):
        self.process = subprocess.Popen(
            [program, "serve", "--model", model, "--adapter", adapter, "--port", "0", "--cache-disk-mib", "0", *options],
            stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            found = re.match(r"listening at (\S+)", line)
            if found:
                self.url = found.group(1)
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def close(self):
        """Ends it and returns its exit code, 130 where all is well."""
        self.process.terminate()
        return self.process.wait(30)
