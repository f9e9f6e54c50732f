// The lexicon of the synthetic text: one grammar rule a class of words. Words that take "an" before
// a consonant or "a" before a vowel letter (hour, useful) are left out of the nouns and adjectives.
#pragma once

#include "data/grammar.h"

namespace chunkllm {

inline constexpr GrammarRule kSyntheticWords[] = {
    // Names. Each stands also for a person of the cast.
    {"first_f",
     "Alice|Anna|Beatrice|Bertha|Catherine|Cecilia|Charlotte|Clara|Constance|Cora|Daisy|Dora|Edith|"
     "Eleanor|Eliza|Ellen|Elsie|Emily|Emma|Esther|Ethel|Eva|Fanny|Flora|Florence|Frances|Georgiana|"
     "Gertrude|Grace|Hannah|Harriet|Helen|Henrietta|Hester|Hilda|Ida|Irene|Isabel|Jane|Janet|Jenny|"
     "Julia|Kate|Laura|Leonora|Lilian|Louisa|Lucy|Lydia|Mabel|Margaret|Maria|Marian|Martha|Mary|"
     "Matilda|Maud|Mildred|Millicent|Miriam|Molly|Nancy|Nell|Nora|Olive|Patience|Peggy|Phoebe|"
     "Priscilla|Rachel|Rebecca|Rhoda|Rosamond|Rose|Ruth|Sarah|Selina|Sophia|Stella|Susan|Sylvia|"
     "Theresa|Ursula|Victoria|Viola|Winifred"},
    {"first_m",
     "Abel|Adam|Alan|Albert|Alexander|Alfred|Ambrose|Andrew|Anthony|Archibald|Arthur|Barnaby|"
     "Benjamin|Bernard|Charles|Christopher|Cyril|Daniel|David|Dennis|Edmund|Edward|Ephraim|Ernest|"
     "Eustace|Felix|Francis|Frank|Frederick|Geoffrey|George|Gerald|Gilbert|Giles|Godfrey|Gregory|"
     "Harold|Harry|Henry|Herbert|Horace|Hubert|Hugh|Isaac|Jack|Jacob|James|Jasper|John|Jonathan|"
     "Joseph|Joshua|Julian|Lawrence|Leonard|Lionel|Luke|Martin|Matthew|Maurice|Michael|Miles|"
     "Nathaniel|Nicholas|Noel|Oliver|Oscar|Owen|Patrick|Paul|Percy|Peter|Philip|Ralph|Reginald|"
     "Richard|Robert|Roger|Roland|Rupert|Samuel|Septimus|Silas|Simon|Stephen|Theodore|Thomas|"
     "Timothy|Tobias|Tom|Victor|Vincent|Walter|Wilfred|William"},
    {"surname",
     "Abbott|Ainsworth|Aldous|Ashby|Atherton|Barlow|Barrington|Bellamy|Bennett|Birch|Blackwood|"
     "Blythe|Bolton|Bramwell|Brandon|Brewster|Brooke|Burnaby|Calloway|Carew|Carstairs|Chalmers|"
     "Claverton|Clifford|Colby|Conway|Corbett|Crane|Crawley|Dalton|Danvers|Darnley|Denholm|Doyle|"
     "Drummond|Dunstan|Eastwood|Ellery|Elphinstone|Fairfax|Farrell|Fenwick|Fletcher|Forbes|Foster|"
     "Garland|Garth|Gower|Graham|Granger|Grayson|Greville|Hale|Halliday|Hammond|Harcourt|Harding|"
     "Hartley|Hawthorn|Heath|Henshaw|Holloway|Hurst|Ingram|Jarvis|Keating|Kendall|Kershaw|Lambert|"
     "Langley|Latimer|Lawson|Leigh|Lester|Lockhart|Lovell|Macdonald|Mallory|Marchmont|Marlow|"
     "Maxwell|Merrick|Middleton|Monroe|Mortimer|Murray|Neville|Norwood|Oakley|Ogilvie|Osborne|"
     "Paget|Palmer|Parrish|Pelham|Pemberton|Penrose|Prescott|Quayle|Radcliffe|Ramsay|Redfern|"
     "Renshaw|Ridley|Rivers|Rowland|Ryder|Sanderson|Selwyn|Seymour|Shelton|Sinclair|Somers|"
     "Stanhope|Sterling|Stratton|Sutcliffe|Talbot|Tennant|Thorne|Thornton|Tremayne|Trent|Vane|"
     "Vaughan|Verney|Wakefield|Walsh|Warburton|Wentworth|Westbrook|Whitaker|Winslow|Wolcott|"
     "Woodville|Wyndham|Yardley|Yorke"},
    {"town",
     "Abbotsbury|Alderney|Amberley|Ashford|Barchester|Bath|Bexhill|Boston|Bridgeport|Brighton|"
     "Bristol|Calais|Cambridge|Carlisle|Chester|Concord|Coventry|Dorchester|Dover|Dresden|Dublin|"
     "Durham|Edinburgh|Exeter|Florence|Geneva|Glasgow|Guildford|Halifax|Hartlepool|Hastings|"
     "Inverness|Lancaster|Leeds|Lisbon|London|Lyons|Maidstone|Malta|Manchester|Milan|Montreal|"
     "Naples|New York|Newcastle|Northampton|Norwich|Oxford|Paris|Pemberley|Philadelphia|Plymouth|"
     "Portsmouth|Prague|Quebec|Richmond|Rome|Rouen|Salem|Salisbury|Savannah|Scarborough|Sheffield|"
     "Southampton|Stratford|Taunton|Trieste|Venice|Vienna|Warwick|Whitby|Winchester|Worcester|"
     "York"},
    {"estate", "Abbey|Castle|Court|Farm|Grange|Hall|House|Lodge|Manor|Mill|Park|Priory|Rectory"},
    {"saint",
     "Andrew|Anne|Catherine|Clement|Giles|James|John|Mark|Mary|Michael|Paul|Peter|Stephen"},
    {"month",
     "January|February|March|April|May|June|July|August|September|October|November|December"},
    {"weekday", "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"},
    {"initial", "A|B|C|D|E|F|G|H|J|K|L|M|N|P|R|S|T|W"},
    {"roman", "I|II|III|IV|V|VI|VII|VIII|IX|X|XI|XII|XIII|XIV|XV|XVI|XVII|XIX|XX|XXI|XXIV|XXX"},
    {"small_roman", "i|ii|iii|iv|v|vi|vii|viii|ix|x|xi|xii|xiv"},
    {"digit", "1|2|3|4|5|6|7|8|9"},
    {"any_digit", "0|1|2|3|4|5|6|7|8|9"},
    {"year", "17{digit}{any_digit}|3*18{any_digit}{any_digit}|2*19{any_digit}{any_digit}"},
    {"count",
     "two|three|three|four|five|six|seven|eight|nine|ten|a "
     "dozen|twelve|fifteen|twenty|thirty|forty|"
     "fifty|a hundred|several|many|a few|half a dozen|two or three"},
    {"ordinal", "first|second|third|fourth|fifth|last|next"},
    {"occupation",
     "apothecary|architect|attorney|baker|banker|barber|blacksmith|bookseller|butcher|carpenter|"
     "clergyman|clerk|coachman|cook|curate|doctor|engineer|farmer|ferryman|fisherman|gamekeeper|"
     "gardener|governess|groom|harbour "
     "master|housekeeper|innkeeper|inspector|judge|lawyer|librarian|"
     "magistrate|merchant|miller|music "
     "teacher|notary|nurse|organist|painter|physician|pilot|porter|"
     "postmaster|printer|professor|sailor|schoolmaster|sculptor|secretary|sergeant|servant|sexton|"
     "shepherd|shopkeeper|soldier|steward|surgeon|surveyor|tailor|tinker|watchman|weaver|widow"},
    {"relation",
     "aunt|brother|cousin|daughter|father|friend|godmother|grandfather|grandmother|guardian|mother|"
     "neighbour|nephew|niece|partner|sister|son|uncle|ward"},

    // Nouns.
    {"thing",
     "album|anchor|apron|armchair|axe|bag|ball|barrel|basin|basket|bell|bench|bill|blanket|boat|"
     "book|bottle|bowl|box|bracelet|branch|bridle|brooch|broom|bucket|bundle|button|cabinet|cage|"
     "candle|candlestick|cane|cap|card|carpet|cart|chain|chair|chart|chest|cigar|cloak|clock|coat|"
     "coffee-pot|coin|compass|cradle|crown|cup|curtain|cushion|dagger|deed|desk|diary|dish|"
     "document|"
     "doll|drawer|dress|drum|envelope|fan|feather|fiddle|flag|flask|flute|fork|frame|fur|gate|"
     "glass|"
     "glove|gown|gun|hammer|hamper|handkerchief|hat|helmet|hook|hymn-book|inkstand|jar|jewel|jug|"
     "kettle|key|knife|ladder|lamp|lantern|leaf|ledger|lens|letter|lid|locket|loaf|lock|manuscript|"
     "map|mask|match|medal|mirror|mug|nail|napkin|necklace|needle|net|newspaper|note|oar|paper|"
     "parcel|passport|pencil|photograph|piano|picture|pillow|pipe|pistol|plate|pocket-book|"
     "portrait|"
     "pot|purse|rake|razor|receipt|ribbon|ring|rope|rug|saddle|sail|saw|scarf|seal|shawl|sheet|"
     "shield|shoe|shovel|sketch|skirt|slate|spade|spoon|stick|stone|stool|stove|string|sword|table|"
     "tea-tray|telegram|telescope|thimble|ticket|torch|towel|toy|tray|trunk|umbrella|vase|veil|"
     "violin|wallet|watch|wheel|whip|whistle|will|window|wreath"},
    {"things",
     "apples|arrows|bells|bills|birds|bits of paper|blankets|boats|bones|books|boots|bottles|boxes|"
     "bricks|buttons|candles|cards|chairs|chestnuts|clouds|coins|crumbs|cups|curtains|diamonds|"
     "documents|eggs|engravings|feathers|flags|flowers|gloves|hills|horses|houses|jewels|keys|"
     "ladders|lamps|leaves|letters|lilies|maps|meadows|medals|nets|newspapers|nuts|oars|old coats|"
     "oranges|papers|parcels|pearls|pebbles|photographs|pictures|pigeons|plates|ribbons|ropes|"
     "roses|"
     "sails|shadows|sheep|shells|ships|shoes|sketches|stars|stones|tools|torches|trees|trunks|"
     "violets|voices|wagons|waves|weeds|windows|wolves"},
    {"place",
     "arcade|attic|avenue|balcony|bank|barn|bay|beach|bridge|cabin|cave|cellar|chapel|church|"
     "churchyard|cliff|coach-house|common|corridor|cottage|courtyard|dairy|deck|dining-room|"
     "drawing-room|factory|farm|field|forest|fort|fountain|gallery|garden|garret|graveyard|hall|"
     "harbour|hill|hospital|hotel|inn|island|kitchen|lake|landing|lane|library|lighthouse|market|"
     "meadow|mill|moor|museum|nursery|office|orchard|palace|parlour|pier|pond|post-office|prison|"
     "quay|railway station|river|road|school|shop|shore|square|stable|stairs|street|studio|study|"
     "summer-house|tavern|terrace|theatre|tower|town|valley|village|wharf|wood|workshop|yard"},
    {"abstract",
     "affection|ambition|anger|beauty|charity|comfort|courage|cruelty|curiosity|custom|danger|"
     "darkness|death|delay|despair|duty|education|envy|experience|failure|faith|fame|fashion|fate|"
     "folly|fortune|freedom|friendship|gratitude|grief|habit|happiness|hope|ignorance|imagination|"
     "industry|innocence|justice|kindness|knowledge|labour|liberty|love|luck|luxury|marriage|"
     "memory|"
     "mercy|misfortune|money|nature|necessity|passion|patience|peace|pity|pleasure|poverty|power|"
     "pride|prudence|reason|religion|remorse|respect|science|shame|silence|solitude|sorrow|success|"
     "suspicion|sympathy|talent|time|truth|vanity|virtue|wealth|wisdom|wonder|youth"},
    {"matter",
     "accident|adventure|affair|agreement|answer|argument|arrival|attempt|bargain|battle|business|"
     "change|choice|conversation|crime|debt|decision|departure|difficulty|discovery|dream|election|"
     "engagement|error|event|examination|excuse|expedition|experiment|explanation|fever|fire|"
     "flight|"
     "funeral|idea|illness|incident|inheritance|insult|interview|invention|invitation|journey|"
     "lawsuit|lesson|loss|meeting|mistake|murder|mystery|offer|opinion|opportunity|plan|"
     "promise|proposal|quarrel|question|reason|refusal|rescue|robbery|rumour|scheme|secret|storm|"
     "story|strike|theory|trial|visit|voyage|wager|warning|wedding"},
    {"nature",
     "air|autumn|breeze|cloud|cold|dark|dawn|dew|dust|evening|fog|frost|gale|grass|heat|ice|light|"
     "mist|moon|moonlight|night|rain|sea|sky|smoke|snow|storm|stream|summer|sun|sunlight|thunder|"
     "tide|twilight|water|wind|winter"},
    {"body",
     "arm|cheek|chin|ear|elbow|face|finger|forehead|hair|hand|head|heart|knee|mouth|neck|"
     "shoulder|sleeve|throat|voice"},
    {"animal",
     "bear|bird|bull|cat|colt|cow|crow|dog|donkey|eagle|fox|goat|goose|hare|hawk|horse|hound|lamb|"
     "monkey|mule|owl|ox|parrot|pig|pony|rabbit|rat|raven|sheep|spaniel|squirrel|swan|terrier|"
     "wolf"},

    // Adjectives.
    {"adj_thing",
     "ancient|beautiful|black|blue|brass|bright|broken|brown|carved|cheap|clean|common|copper|"
     "costly|cracked|crimson|curious|dark|dirty|dusty|elegant|empty|enormous|faded|familiar|fine|"
     "foreign|forgotten|fresh|gilded|golden|gray|green|handsome|heavy|hidden|hollow|huge|iron|"
     "ivory|"
     "large|leather|little|long|narrow|neat|new|odd|old|old-fashioned|ordinary|painted|pale|pink|"
     "plain|polished|precious|pretty|purple|red|rough|round|rusty|scarlet|shabby|sharp|shining|"
     "silver|simple|single|small|smooth|splendid|square|stolen|strange|thick|thin|tiny|torn|"
     "unfinished|unopened|useless|valuable|velvet|wet|white|wide|wooden|worn|yellow"},
    {"adj_person",
     "able|aged|amiable|angry|anxious|awkward|blind|bold|brave|careful|careless|cautious|charming|"
     "cheerful|clever|cold|cunning|curious|deaf|dignified|discreet|dull|eager|eccentric|elderly|"
     "energetic|excellent|faithful|famous|fat|foolish|friendly|generous|gentle|good-natured|grave|"
     "grim|handsome|hot-tempered|humble|idle|impatient|ingenious|innocent|jealous|jolly|kind|lame|"
     "lazy|lively|lonely|melancholy|merry|middle-aged|mild|modest|nervous|noble|obstinate|old|pale|"
     "patient|pious|polite|poor|practical|proud|quarrelsome|quick|quiet|red-haired|reserved|"
     "respectable|rich|rude|sad|sensible|severe|shrewd|shy|silent|simple|sleepy|solemn|stern|stout|"
     "stupid|sullen|tall|thin|timid|tired|unhappy|unlucky|weary|wicked|wise|young|youthful"},
    {"adj_place",
     "ancient|bare|bleak|bright|broad|busy|celebrated|cheerful|chilly|cold|comfortable|cool|"
     "crowded|"
     "damp|dark|dense|deserted|distant|dreary|empty|enclosed|fashionable|gloomy|grand|green|hidden|"
     "hot|humble|large|little|lofty|lonely|low|muddy|narrow|neat|neglected|neighbouring|new|noisy|"
     "old|open|peaceful|pleasant|quaint|quiet|remote|ruined|rustic|secluded|shabby|shady|silent|"
     "small|snowy|spacious|steep|stony|sunny|tidy|upper|vast|wide|wild|windy"},
    {"adj_abstract",
     "absolute|accidental|agreeable|bitter|blind|certain|common|complete|constant|cruel|deep|"
     "delightful|dreadful|early|easy|endless|entire|evident|extraordinary|false|fatal|fierce|final|"
     "foolish|former|frequent|general|grave|great|happy|hasty|hopeless|human|immediate|"
     "important|inevitable|innocent|late|long|melancholy|mere|mutual|natural|new|ordinary|painful|"
     "peculiar|perfect|present|private|public|quiet|rare|real|recent|remarkable|ridiculous|sacred|"
     "second|secret|serious|simple|singular|slight|sober|sorrowful|splendid|strange|sudden|"
     "terrible|"
     "tiresome|true|uncertain|unexpected|universal|unpleasant|usual|vague|vulgar|whole|wretched"},
    {"state",
     "afraid|alarmed|alone|amused|angry|anxious|ashamed|astonished|asleep|awake|calm|content|"
     "curious|"
     "delighted|disappointed|discouraged|embarrassed|exhausted|frightened|glad|grateful|happy|ill|"
     "impatient|indignant|late|lost|mistaken|nervous|offended|pale|perplexed|pleased|proud|puzzled|"
     "ready|relieved|resolved|restless|sad|safe|satisfied|silent|sorry|startled|surprised|"
     "thoughtful|tired|troubled|uneasy|unwell|vexed|weary|wretched"},

    // Adverbs.
    {"manner",
     "abruptly|absently|aloud|angrily|anxiously|awkwardly|bitterly|boldly|briskly|calmly|carefully|"
     "carelessly|cautiously|cheerfully|clumsily|coldly|coolly|courteously|curiously|deliberately|"
     "desperately|dryly|eagerly|earnestly|easily|faintly|fiercely|firmly|foolishly|freely|gaily|"
     "gently|gladly|gloomily|gracefully|gravely|grimly|half "
     "aloud|hastily|heartily|heavily|hurriedly|"
     "impatiently|in a low voice|in a whisper|in silence|indignantly|innocently|kindly|lightly|"
     "mildly|nervously|patiently|politely|promptly|proudly|quickly|quietly|reluctantly|rudely|"
     "sadly|"
     "seriously|sharply|shyly|silently|simply|sleepily|slowly|slyly|softly|solemnly|steadily|"
     "sternly|stiffly|suddenly|sulkily|tenderly|thoughtfully|timidly|triumphantly|wearily|wisely|"
     "with a laugh|with a sigh|with a smile|with great care|with some difficulty|with tears"},
    {"when",
     "A few days later|A little before noon|A moment afterwards|About midnight|After a while|"
     "After breakfast|After dinner|After that|All that day|All the while|Already|An hour later|"
     "As before|As usual|At daybreak|At first|At last|At length|At midnight|At sunset|At that "
     "moment|"
     "At the same time|Before long|By and by|By degrees|By the end of the week|Early in the "
     "morning|"
     "Every evening|For a moment|For some time|For the first time|From that day|In a few minutes|"
     "In an instant|In due time|In the afternoon|In the end|In the evening|In the meantime|"
     "In the spring|Just then|Late at night|Later|Long afterwards|Meanwhile|More than once|Next "
     "day|"
     "Now and then|Often|On the following morning|On {weekday}|Once|Once more|One day|One evening|"
     "One morning in {month}|Presently|Sometimes|Soon|That afternoon|That evening|That night|"
     "That very day|The next morning|The week after|Then|Three weeks later|To this day|Toward "
     "evening|"
     "Twice|Two years before|Until then|Upon this|When it grew dark|Within the hour|Year after "
     "year"},
    {"later",
     "a moment later|after a time|again|all day|all night|as usual|at last|at once|before supper|"
     "by and by|by candlelight|every day|for a long time|for an instant|for the last time|for "
     "weeks|"
     "in the end|in the night|in the rain|in vain|just in time|more than once|next day|on "
     "{weekday}|"
     "once more|presently|that evening|the whole evening|till morning|until dawn|without delay"},
    {"indeed",
     "after all|as a rule|at any rate|besides|for instance|for my part|however|in a word|in fact|"
     "in short|in truth|indeed|moreover|nevertheless|no doubt|of course|on the contrary|"
     "on the other hand|on the whole|perhaps|therefore|to be sure"},
};

}  // namespace chunkllm
