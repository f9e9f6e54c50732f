// The grammar of the synthetic text above its lexicon: phrases, clauses, sentences and whole lines.
// Variables, set by synthetic.cc: who, he, him, his, self, was speak of the subject; other, ohe,
// ohim, ohis of a second person; third is a third one's name; house a place's; lq, rq, li, ri are
// outer and inner quotation marks, dash the dash, sep what stands between two sentences.
#pragma once

#include "data/grammar.h"

namespace chunkllm {

inline constexpr GrammarRule kSyntheticPhrases[] = {
    // Numbers, dates, titles.
    {"number",
     "2*{digit}|3*{digit}{any_digit}|2*{digit}{any_digit}{any_digit}|"
     "{digit},{any_digit}{any_digit}{any_digit}"},
    {"day", "{digit}|1{any_digit}|2{digit}"},
    {"day_of", "1st|2nd|3rd|4th|5th|6th|9th|11th|12th|15th|21st|22d|tenth|seventeenth|thirtieth"},
    {"hour", "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"},
    {"clock", "{digit}:{digit}5|1{digit}.30|{digit} a.m.|{digit}.15 p.m.|half past {hour}|{hour}"},
    {"money",
     "£{number}|${number}|{number} pounds|{number} francs|£{digit} {digit}s.|"
     "${number}.{any_digit}5|{digit}s. {digit}d."},
    {"month_short", "Jan|Feb|Aug|Sept|Oct|Nov|Dec"},
    {"titled",
     "8*Mr. {surname}|6*Mrs. {surname}|2*Miss {surname}|3*Dr. {surname}|3*M. {surname}|"
     "Mme. {surname}|Rev. {first_m} {surname}|Capt. {surname}|Col. {surname}|Gen. {surname}|"
     "Lord {surname}|Lady {surname}|Sir {first_m} {surname}|{initial}. {initial}. {surname}|"
     "Prof. {surname}|{first_m} {initial}. {surname}|Mr. and Mrs. {surname}|{first_f} {surname}|"
     "{first_m} {surname}"},

    // What a member of the cast is called, and the place that the story knows.
    {"woman",
     "9*{first_f}|5*{first_f}|3*Mrs. {surname}|2*Miss {surname}|Mme. {surname}|2*{first_f} "
     "{surname}|"
     "2*the {occupation}"},
    {"man",
     "9*{first_m}|5*{first_m}|4*Mr. {surname}|2*Dr. {surname}|M. {surname}|2*{first_m} {surname}|"
     "2*the {occupation}"},
    {"group", "the {relation}s"},
    {"house_name", "{surname} {estate}"},

    // Noun phrases, and the participles that tell of things.
    {"done_to",
     "been sent to|bought|broken|brought back|carried|destroyed|examined|forgotten|found|given up|"
     "hidden|inherited|kept|left behind|lost|mended|noticed|opened|packed|painted|promised|"
     "put away|read about|received|seen|shut up|sold|stolen|taken|thrown away|torn|touched|"
     "waited for|watched|written about"},
    {"human",
     "2*the {occupation}|the {adj_person} {occupation}|{a} {adj_person} {occupation}|"
     "{his} {relation}|{his} {adj_person} {relation}|the {occupation}'s {relation}|2*{third}"},
    {"of_which",
     "of {human}|which belonged to {human}|that {human} had {done_to}|"
     "which was {adj_thing} and {adj_thing}|from the {adj_place} {place}|"
     "that lay under the {thing}|which {human} had {done_to} in {year}|"
     "with the {adj_thing} {thing}|made of wood and iron|that nobody had {done_to}"},
    {"item",
     "4*the {thing}|4*the {adj_thing} {thing}|3*{a} {adj_thing} {thing}|2*{a} {thing}|"
     "2*{his} {thing}|{his} {adj_thing} {thing}|one of the {things}|the {occupation}'s {thing}|"
     "{a} {thing} of leather|the {adj_thing}, {adj_thing} {thing}|the {ordinal} {thing}|"
     "the {thing} from {town}|2*the {adj_thing} {thing} {of_which}|the {thing} {of_which}"},
    {"object",
     "9*{item}|the {thing} and the {thing}|2*the {things}|{count} {things}|"
     "the {adj_thing} {things}"},
    {"site",
     "5*the {place}|4*the {adj_place} {place}|2*{a} {adj_place} {place}|the {place} of {house}|"
     "{house}|the {occupation}'s {place}|the {place} behind the {place}|{town}|"
     "St. {saint}'s {place}"},
    {"topic",
     "3*the {matter}|3*the {adj_abstract} {matter}|2*{abstract}|the {abstract} of {human}|"
     "{his} {abstract}|{his} {adj_abstract} {matter}|the {matter} of the {thing}|{human}|"
     "the {matter} in {town}|{adj_abstract} {abstract}|the {adj_abstract} {abstract} of the "
     "{nature}"},
    {"where",
     "3*in {site}|2*near {site}|at the end of {site}|behind {site}|beside the {thing}|"
     "by the {place}|on the {thing}|under the {things}|before the {adj_thing} {thing}|"
     "among the {things}|beyond {site}|outside {site}|between the {place} and the {place}|"
     "in the {nature}"},
    {"to",
     "4*to {site}|into {site}|2*toward {site}|across {site}|through {site}|up the {place}|"
     "down the {place}|out of {site}|from {site} to {site}|round the {place}|over the {place}|"
     "past {site}|along the {adj_place} {place}"},
    {"with",
     "3*with {a} {adj_thing} {thing}|with {abstract}|with {his} {thing} in {his} hand|"
     "with {a} {adj_abstract} {abstract}|without {a} word|without {abstract}|with {human}|"
     "with the {things} in {his} arms|with {his} {relation}|in spite of the {nature}|"
     "for the sake of {abstract}|because of the {matter}|on account of the {nature}"},

    // Verb phrases in the past tense, the same for every person.
    {"did_to_thing",
     "admired|borrowed|bought|broke|brought|burned|carried away|cleaned|concealed|counted|covered|"
     "described|dropped|emptied|examined|exchanged|felt for|filled|flung down|folded|forgot|found|"
     "gave back|grasped|handed over|held out|hid|kept|kicked|laid aside|laid down|left|lifted|"
     "locked|looked at|looked for|lost|mended|missed|noticed|offered|opened|packed|painted|"
     "picked up|pointed at|polished|produced|pulled out|pushed away|put away|put down|raised|"
     "received|recognised|refused|removed|repaired|returned|saved|saw|seized|sent for|set down|"
     "shook|showed|sold|stared at|stole|threw away|tied up|took|took down|took up|tore|touched|"
     "turned over|unfolded|unlocked|unpacked|washed|watched|weighed|wiped|wrapped up"},
    {"went",
     "climbed|crept|descended|drove|fled|galloped|hastened|hurried|journeyed|limped|marched|"
     "passed|pushed on|ran|retired|returned|rode|rushed|sailed|set out|slipped|started|stole|"
     "strolled|strode|travelled|tramped|walked|wandered|went|withdrew"},
    {"stayed",
     "breakfasted|dined|fell asleep|hesitated|knelt|lay|lingered|lived|paused|remained|rested|sat|"
     "sat down|slept|spent the night|stayed|stood|stood still|stopped|waited|worked"},
    {"did",
     "began to laugh|blushed|bowed|burst into tears|coughed|cried out|felt ill|frowned|"
     "gave {a} start|grew pale|groaned|had no answer|drew back|kept silent|knew better|laughed|"
     "listened|looked round|looked up|made no reply|nodded|obeyed|recovered|rose|said no more|"
     "said nothing|shivered|sighed|smiled|sobbed|started|stammered|trembled|turned away|"
     "turned round|understood|wept|whistled|wondered|yawned|yielded"},
    {"did_to_person",
     "admired|amused|answered|approached|asked for|avoided|begged|believed|blamed|called to|"
     "comforted|deceived|despised|detained|dreaded|embraced|envied|feared|followed|forgave|"
     "greeted|heard|helped|interrupted|invited|joined|kissed|laughed at|led|liked|listened to|"
     "looked at|loved|met|missed|obeyed|offended|passed|persuaded|pitied|praised|questioned|"
     "received|recognised|respected|saw|scolded|sent for|shook hands with|spoke to|stared at|"
     "stopped|surprised|thanked|took leave of|trusted|turned to|visited|waited for|watched|"
     "welcomed|wrote to"},
    {"thought_of",
     "alluded to|came back to|complained of|considered|delighted in|discussed|doubted|dreamed of|"
     "dwelt upon|explained|feared|forgot|heard of|hoped for|inquired about|insisted upon|knew of|"
     "longed for|mentioned|referred to|reflected on|regretted|remembered|shrank from|smiled at|"
     "spoke of|suspected|talked of|thought of|understood|wondered at|wrote about"},
    {"knew_that",
     "admitted|agreed|answered|believed|declared|discovered|doubted|explained|fancied|feared|felt|"
     "felt sure|forgot|found|guessed|had heard|heard|hoped|imagined|insisted|knew|learned|"
     "observed|perceived|protested|remembered|replied|saw|suspected|thought|told {other}|"
     "understood|wrote"},
    {"doing",
     "admiring|bringing|carrying|counting|dropping|examining|folding|forgetting|gathering|"
     "handling|holding|laying aside|leaving|lifting|looking at|looking for|mending|opening|"
     "packing|passing|picking up|pointing to|pushing away|putting down|raising|recognising|"
     "remembering|seizing|setting down|shaking|taking|taking up|throwing down|touching|"
     "turning over|unfolding|watching"},
    {"do_to",
     "admire|borrow|break|bring|buy|carry|clean|count|describe|examine|exchange|find|fetch|finish|"
     "fold|forget|give up|hide|keep|leave|lift|look at|look for|lose|mend|notice|open|pack|paint|"
     "part with|pick up|promise|put away|read about|receive|refuse|remember|return|save|see|sell|"
     "send for|show|spoil|steal|take|tear up|touch|understand|unlock|use|wait for|watch|wrap up"},
    {"go", "come back|drive|go|go back|hurry|ride|return|run away|sail|travel|walk"},
    {"do",
     "be patient|be quiet|begin again|complain|cry|explain|give way|go home|keep still|laugh|"
     "listen|make haste|remain|rest|sit down|sleep|speak|stay|talk|think|try again|wait|work"},

    {"acted",
     "5*{did_to_thing} {object}|2*{did_to_thing} {object} {later}|"
     "2*{did_to_thing} {object} {where}|{manner} {did_to_thing} {object}|4*{went} {to}|"
     "2*{went} {manner} {to}|{went} {to} {later}|3*{stayed} {where}|{stayed} {where} {with}|"
     "2*{did}|{did} {manner}|{did} {later}|3*{did_to_person} {human}|"
     "{did_to_person} {other} {manner}|3*{thought_of} {topic}|2*felt {state}|looked {state}|"
     "grew {state}, and {did}|had {done_to} {object}|had {done_to} {object} {where}|"
     "could not {do_to} {object}|could {do_to} {object} {later}|would never {do_to} {object}|"
     "did not {do_to} {object}|tried to {do_to} {object}|resolved to {go} {to}|"
     "had to {do_to} {object}|gave {other} {object}|felt too {state} to {do_to} {object}|"
     "looked as {adj_person} as {a} {animal}"},

    // Clauses.
    {"scene",
     "the {nature} was {adj_place}|the {adj_place} {place} was full of {things}|"
     "the {thing} lay {where}|there was {a} {adj_thing} {thing} {where}|"
     "there were {count} {things} {where}|{a} {animal} ran {to}|"
     "the {adj_thing} {things} lay {where}|the {nature} came {to}|"
     "it was {adj_abstract} {abstract}|not {a} {thing} was to be seen {where}|"
     "the {things} had been {done_to}|the {place} was {adj_place} and {adj_place}|"
     "the {matter} was {adj_abstract}|{human} was {state}|{human} {acted}|"
     "the {thing} was {adj_thing}|nobody {did_to_thing} {object}|everybody {thought_of} {topic}|"
     "it was {a} {adj_abstract} {matter}|the clock struck {hour}"},
    {"clause",
     "5*{he} {acted}|3*{who} {acted}|2*{he} {acted} {with}|{who} {acted} {with}|"
     "{he} {acted} {where}|3*{other} {acted}|{human} {acted}|{human} {acted} {with}|3*{scene}|"
     "{scene} {where}"},
    {"that",
     "{he} {acted}|{ohe} {acted}|{scene}|the {matter} was {adj_abstract}|{other} {acted}|"
     "{abstract} was better than {abstract}|nothing could be more {adj_abstract}"},
    {"subordinate",
     "when {clause}|as {clause}|because {he} {acted}|although {clause}|before {he} {acted}|"
     "after {he} had {done_to} {object}|while {clause}|until {clause}|if {he} {acted}|"
     "since {scene}|as soon as {he} {acted}|whenever {he} {acted}|"
     "once {he} had {done_to} {object}|where {scene}"},
    {"trailing",
     "4*{subordinate}|as if {he} had {done_to} {object}|so that {he} could {do_to} {object}|"
     "lest {ohe} should {do_to} {object}|though {clause}"},
    {"participle",
     "{doing} {object}|{manner} {doing} {object}|{doing} {object} {where}|"
     "without {doing} {object}|with {his} {body} on {his} {body}|{his} {body} and {body} covered "
     "with {things}|{state} and {state}|after {doing} {object}|with {his} {body} in {his} hands"},
    {"opener",
     "6*{when},|2*{when}|{indeed},|with {a} {adj_abstract} {abstract},|{participle},|"
     "2*in {month}, {year},|in {year}|on the {day_of} of {month}|having {done_to} {object},|"
     "2*{subordinate},|{where},|and|but|so|yet|for"},
};

inline constexpr GrammarRule kSyntheticSentences[] = {
    // Narration. Each alternative is a whole sentence.
    {"short",
     "{^he} {did}.|{^he} {did_to_thing} {object}.|{^he} {was} {state}.|"
     "It was {a} {adj_abstract} {matter}.|Nothing moved {where}.|{^other} {did}.|"
     "The {nature} was {adj_place}.|There was no {matter}.|So {he} {went} {to}.|But {he} {did}.|"
     "{^who} {did} {manner}.|No one {went} {to}.|It was already dark {where}.|Then {other} {did}.|"
     "Not {a} {thing} moved.|{^he} {went} {to}.|What {a} {matter}!|Yet {he} {did}.|"
     "Such was the {matter}.|{^he} {did_to_person} {other}."},
    {"plain",
     "3*{^clause}.|{^opener} {clause}.|{^clause} {with}.|{^clause}, {participle}.|"
     "{^clause}, and {acted}.|{^he} {acted}, {indeed}, {where}.|{^he} {knew_that} that {that}.|It "
     "was not {topic} that {did_to_person} {him}, but {topic}.|{^he} {acted} and {acted}.|The "
     "{adj_thing} {thing}, which {he} had {done_to} {where}, was {adj_thing}."},
    {"middle",
     "2*{^clause}, and {clause}.|{^clause}: {clause}.|{^clause}, but {clause}.|"
     "{^clause} {trailing}.|{^subordinate}, {clause}.|{^opener} {clause}, and {clause}.|"
     "{^clause}; {clause}.|{^opener} {clause}{dash}{that}.|{^he} {acted}, {acted}, and {acted}.|"
     "{^human}, who {acted}, {acted}.|{^he} {knew_that} that {that}, and that {that}.|"
     "{^clause}, {participle}, {trailing}.|{^clause}: {clause}.|"
     "The {place} ({scene}) was {adj_place}.|{^clause}, for {clause}.|Neither {human} nor {human} "
     "{acted}, and {he} {acted} {later}.|{^opener} {who}, {participle}, {acted}.|{^he} had "
     "{done_to} {object}{dash}{a} {adj_thing} {thing}{dash}{where}.|What {he} {did_to_thing} was "
     "not {object}, but {object}.|{^titled}, of {town}, {acted}."},
    {"long",
     "{^clause}, and {clause}, {trailing}.|{^opener} {clause}; and {subordinate}, {clause}.|"
     "{^clause}; {clause}, and {clause}.|{^clause}, {clause}, and {clause}, {trailing}.|"
     "{^subordinate}, and {subordinate}, {clause}, {participle}.|{^he} {acted}, and {acted}, and "
     "then, {participle}, {acted}.|{^human}, who {acted}, and whose {relation} {acted}, {acted} "
     "{later}.|{^clause}, but {subordinate}, {clause}, and {indeed} {clause}.|{^opener} {who}, "
     "who {acted}, {acted}, but {ohe} {acted}, and {acted}.|There were {things}, {things}, "
     "{things}, and {a} {adj_thing} {thing} {where}; and {subordinate}, {clause}.|{^he} "
     "{knew_that} that {that}; that {that}; and that, {subordinate}, {that}.|"
     "{^clause}{dash}{that}{dash}and {clause}, {trailing}."},
    {"longest",
     "{^clause}, and {clause}; but {subordinate}, {clause}, {participle}.|{^opener} {clause}, and "
     "{clause}, so that {clause}, and {clause}, {trailing}.|{^clause}, and {clause}, but "
     "{subordinate}, and {subordinate}, {clause}, {participle}.|{^opener} {clause}, {trailing}; "
     "and {clause}, {participle}, {trailing}.|{^clause}; {clause}; {subordinate}, {clause}; and "
     "{indeed}, {clause}."},
    {"wondering",
     "What had {he} {done_to}?|Why should {he} {do_to} {object}?|"
     "Who could {do_to} {object} {where}?|Had {other} {done_to} {object}, or had {ohe} {done_to} "
     "{object}?|Was it {topic}?|How could {he} {do_to} {object}, {subordinate}?|"
     "Was there no {matter} {where}?|How many {things} had {he} {done_to}!|"
     "What {a} {adj_thing} {thing} it was!|How {state} {he} {was}, and how {state}!|"
     "Alas! {clause}.|Ah, the {adj_thing} {thing}!|Could {he} {do_to} {object}?{sep}Would {other} "
     "{do_to} {object}?{sep}{^he} {acted}."},
    {"abbreviated",
     "{^titled} {acted}.|{^clause}, and {titled} {acted}.|{^opener} {titled} {acted}, {trailing}.|"
     "{^titled} {did_to_person} {titled}.|It was {titled} who {did_to_thing} {object}.|"
     "{^clause} at {clock}, and {clause}.|{^he} lived at No. {number}, {surname} Street, {town}.|"
     "The firm of Messrs. {surname} & Co. {did_to_thing} {object}.|{^clause} (see Vol. {roman}, "
     "p. {number}).|{^he} paid {money} for {object}.|The {place} is {number}.{digit} miles from "
     "{town}.|The {place} of St. {saint} stood {where}.|{^he} {went} {to} on {month_short}. "
     "{day}, {year}.|The {things}, {things}, etc., were {adj_thing}.|Prof. {initial}. {initial}. "
     "{surname}, of {town}, {knew_that} that {that}.|The {matter} cost {money}, i.e. {money} a "
     "year.|{^clause} with {titled}.|The {thing} weighed {number}.{any_digit} lbs., and {he} "
     "{acted}.|{initial}. {surname} {did_to_thing} {object} in {year}.|"
     "{first_m} {surname}, Esq., {acted}.|Mr. {surname}, Jr., {did_to_person} {titled}."},
    // Reflection, in the present tense: essays and asides.
    {"maxim",
     "{^abstract} is {adj_abstract}.|{^abstract} without {abstract} is {a} {adj_abstract} "
     "{matter}.|There is no {abstract} so {adj_abstract} as that of the {adj_person} "
     "{occupation}.|{^indeed}, {abstract} is not {abstract}; it is {abstract}.|Every {occupation} "
     "knows that {abstract} is {adj_abstract}.|We do not {do_to} {object} because we love "
     "{abstract}, but because we fear {abstract}.|If {abstract} were {adj_abstract}, {abstract} "
     "would be {adj_abstract}.|It is {adj_abstract} to suppose that {abstract} can {do_to} "
     "{object}, or that {abstract} will.|The {adj_person} {occupation} cannot {do_to} {object}; "
     "the {adj_person} one will not.|What is {abstract}?{sep}It is {abstract}, {indeed}, but "
     "{adj_abstract} {abstract}.|Where there is {abstract} there is {abstract}.|Nothing is more "
     "{adj_abstract} than {abstract}, and nothing more {adj_abstract} than {abstract}.|Those who "
     "{do_to} {object} must {do_to} {object}.|The {things} of {town} are {adj_thing} and "
     "{adj_thing}.|In {town}, {indeed}, there are more than {number} {things}, of which {number} "
     "are {adj_thing}.|A {animal} can {do_to} {object}.|The {matter} of {year} proved that "
     "{abstract} and {abstract} are {adj_abstract} things."},
    {"narration",
     "4*{short}|6*{plain}|9*{middle}|9*{middle}|9*{long}|9*{long}|9*{longest}|9*{longest}|"
     "{wondering}|3*{abbreviated}"},
    {"essay",
     "6*{maxim}|4*{middle}|5*{long}|2*{longest}|2*{plain}|{abbreviated}|{short}|{wondering}"},

    // Direct speech, without its quotation marks. `line` ends like a sentence; `start` and `rest`
    // are
    // parts that a narrator interrupts.
    {"address",
     "my dear|sir|madam|{other}|my friend|Mr. {surname}|Miss {surname}|old fellow|doctor"},
    {"cry",
     "Ah|Alas|Ay|Come|Good gracious|Good heavens|Ha|Hallo|Hush|Indeed|Nonsense|Oh|Stop|Why|Well"},
    {"point",
     "I have never {done_to} {object}|I am {state}|I will {do_to} {object}|"
     "I cannot {do_to} {object}|you must {do}|you ought to {do_to} {object}|"
     "it is {a} {adj_abstract} {matter}|I am {state}|I know nothing of {topic}|"
     "there is {a} {thing} {where}|the {occupation} has {done_to} {object}|"
     "I don't {do_to} {things}|we shall {go} {to}|it's {adj_abstract}|that's {topic}|"
     "{titled} is {state}|I didn't {do} {later}|I think I shall {do_to} {object}|"
     "they say that {that}|I've {done_to} {object}|he'll {do_to} {object}|she won't {do}|"
     "you have {done_to} {object}|there isn't {a} {thing} {where}|{titled} has {done_to} {object}|"
     "{abstract} is {adj_abstract}|I can't {do}"},
    {"start",
     "9*{^point}|Yes|No|Very well|No, {point}|Yes, {point}|{^address}|Well, {address}|Perhaps|"
     "Of course|To-morrow|{^indeed}, {point}|{cry}, {point}|And {point}|But {point}|"
     "Perhaps {point}"},
    {"rest",
     "3*{point}|{point} {trailing}|{point}, {address}|2*and {point}|"
     "but you will never {do_to} {object}|and the {thing} is {adj_thing}|if you {do_to} {object}|"
     "because {point}|when {titled} comes|for {point}|I am sure|"
     "and {titled} will {do_to} {object}|as you see|I believe|but {point}"},
    {"line",
     "2*{^rest}.|9*{start}, {rest}.|3*{start}; {rest}.|6*{start}, {rest}, {rest}.|"
     "4*{start}, {trailing}.|4*{start}, {rest}, {trailing}.|{start}, {address}.|{cry}, {address}!|"
     "2*{cry}, {point}!|{cry}! {start}, {rest}.|{start}.{sep}{start}, {rest}.|{start}!|"
     "2*Do you {do_to} {object}?|Have you {done_to} {object}, {address}?|Where is {item}?|"
     "Why don't you {do_to} {object}?|What is the {matter}?|Who {did_to_thing} {object}?|"
     "What, {point}?|{start}{dash}{rest}.|Will you {do_to} {object}, or must I {do}?|"
     "Is {titled} {where}?|{start}...|{start}{dash}|And {topic}?|You {did_to_thing} {object}?|"
     "{cry}, {address}, {rest}!|Don't {do}.|{^do_to} {object}.|How {adj_abstract}!|"
     "{li}{start},{ri} as {third} says.|I am {a} {adj_person} {occupation}."},
    {"said",
     "said|said|said|said|answered|asked|added|began|cried|continued|exclaimed|growled|inquired|"
     "interrupted|murmured|muttered|observed|remarked|repeated|replied|returned|shouted|sighed|"
     "whispered|went on"},
    {"saying",
     "4*{said} {who}|3*{he} {said}|{said} {who} {manner}|2*{he} {said}, {participle}|"
     "{said} {human}|{he} {said} {manner}|{said} the {occupation}, {participle}|{said} {titled}|"
     "{who} {said}"},
    {"speech",
     "3*{lq}{line}{rq}|4*{lq}{line}{sep}{line}{rq}|"
     "2*{lq}{line}{sep}{line}{sep}{line}{sep}{line}{rq}|3*{lq}{line}{sep}{line}{sep}{line}{rq}|"
     "4*{lq}{start},{rq} {saying}.|2*{lq}{start},{rq} {saying}, {lq}{rest}, {trailing}.{rq}|"
     "2*{lq}{start},{rq} {saying}.{sep}{lq}{line}{rq}|{lq}{start}!{rq} {saying}.|{lq}{start},{rq} "
     "{saying}, {participle}.|2*{lq}Do you {do_to} {object}?{rq} {saying}.|{lq}What is "
     "{topic}?{rq} {saying}, {participle}.|{lq}{cry}, {address}!{rq} {saying}.{sep}{lq}{start}, "
     "{rest}.{sep}{line}{rq}|{lq}{start}:{rq} so {he} {acted}.|{plain}{sep}{lq}{line}{rq}|{^he} "
     "looked at {human}, and {said}: {lq}{line}{sep}{line}{rq}|{lq}{start}{dash}{rq}|"
     "{lq}{start},{rq} {saying}; {lq}and {point}.{sep}{line}{rq}|"
     "{lq}{line}{sep}{line}{rq}{sep}{plain}|{lq}And what of {topic}?{rq} {he} {said}.{sep}{plain}|"
     "{lq}{li}{start}!{ri} {he} {said}; and that was all.{rq}|{lq}{line}{rq} {^clause}."},

    // Other lines of a book.
    {"heading",
     "2*CHAPTER {roman}|Chapter {roman}|CHAPTER {roman}. THE {occupation}|{roman}|{roman}.|"
     "Of {abstract} and {abstract}|The {adj_thing} {thing}|BOOK {roman}|"
     "{^who} and the {occupation}"},
    {"dateline",
     "{town}, {day} {month}, {year}.|{^weekday} evening, {month} {day_of}|{house}, {month}"},
    {"greeting",
     "Dear {other},|My dear {address},|Sir:|Dearest {other},{dash}|Madam, and {adj_person} "
     "friend,"},
    {"closing",
     "Yours truly, and in {abstract},|Your {adj_person} servant,|"
     "Ever your {adj_person} {relation},|Your loving {relation},"},
    {"verse",
     "The {nature} upon the {place} lies,|And {things} upon the {place} sigh;|"
     "O {abstract}, where is thy {thing}?|When {nature} and {nature} fall,|"
     "My {adj_thing} {thing}, my {abstract},|No {animal} is in the {place}!|{^abstract} and "
     "{abstract}, {abstract} and {nature},|The {adj_place} {place}, the {adj_thing} {thing}"},
};

}  // namespace chunkllm
