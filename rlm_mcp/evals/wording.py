"""The questions that stand in generated rows, in three degrees of difficulty for who labels them.

The labels are those of the coarse TREC classes that OOLONG uses: what kind of answer a question
asks for. All sentences are made here.
"""

from random import Random
from typing import Literal

Reading = Literal["semantic", "lexical", "explicit"]

ABBREVIATION, DESCRIPTION, ENTITY = "abbreviation", "description", "entity"
HUMAN, LOCATION, NUMERIC = "human being", "location", "numeric value"
LABELS = (ABBREVIATION, DESCRIPTION, ENTITY, HUMAN, LOCATION, NUMERIC)


def _parts(text: str, mark: str = " ") -> tuple[str, ...]:
    return tuple(text.split(mark))


PLACES = _parts(
    "Aarhus Bergen Cork Dakar Esbjerg Faro Ghent Hobart Izmir Jaipur Kyoto Lima Malmo Nantes Oran"
    " Porto Quito Riga Seville Tromso Utrecht Varna Wroclaw Xiamen Yerevan Zadar Leeds Turin Oaxaca"
    " Banff"
)
SUBJECTS = _parts(
    "saffron;the violin;amber;silk;the lighthouse;rye bread;the sundial;indigo;the accordion;salt;"
    "the telegraph;porcelain;the kite;vanilla;the abacus;linen;the windmill;cork;the compass;honey;"
    "the harpsichord;paper money;the diving bell;cinnamon;the printing press;ivory;the bicycle;"
    "tulips;the barometer;copper;the puppet theatre;cocoa;the sextant;wool;the steam organ;pepper;"
    "the hot-air balloon;marble;the pocket watch;olive oil;the tram;lace;the microscope;tea;"
    "the ferry;glass beads;the typewriter;sugar;the observatory;hemp;the carousel;cheese;the canal;"
    "parchment;the fire brigade;mustard;the weather vane;pearls;the drawbridge;coal",
    ";",
)
LETTERS = _parts("BCTA FLR GMO HRD ICP KSB LNT MVA NRO PSE QAR RTU SDK TWE UBN VLC WIP XRM YTO ZEG")

# For each class several ways to ask, with the same subjects and places in all of them: no word of
# a question tells its class, only what it wants to know.
_ASKED = {
    ABBREVIATION: (
        "What does {letters} stand for in a list of {subject} from {place} ?",
        "What is the full form of {letters} , as the museum of {place} uses it of {subject} ?",
        "How is {subject} shortened on the maps of {place} ?",
        "What do the letters {letters} mean on a crate of {subject} shipped to {place} ?",
        "Under which initials is the society for {subject} in {place} known ?",
    ),
    DESCRIPTION: (
        "What is so unusual about {subject} in {place} ?",
        "Why was {subject} once forbidden in {place} ?",
        "How did {subject} change the life of {place} ?",
        "What does {subject} mean to the people of {place} ?",
        "How does one tell good {subject} from bad in {place} ?",
        "What happened to {subject} after the great fire of {place} ?",
    ),
    ENTITY: (
        "What animal is painted beside {subject} on the flag of {place} ?",
        "What was exchanged for {subject} at the fair of {place} ?",
        "Which festival of {place} is held in honour of {subject} ?",
        "What colour is {subject} given in the paintings of {place} ?",
        "What was used in {place} before {subject} was known ?",
        "Which newspaper of {place} first wrote of {subject} ?",
    ),
    HUMAN: (
        "Who brought {subject} to {place} ?",
        "Whose name is still tied to {subject} in {place} ?",
        "Which painter made {subject} famous in {place} ?",
        "What family owned all of {subject} in {place} ?",
        "By whom was the first book on {subject} printed in {place} ?",
        "Which mayor of {place} collected everything on {subject} ?",
    ),
    LOCATION: (
        "Where does {subject} sold in {place} come from ?",
        "To which island did {subject} spread from {place} ?",
        "What country first sent {subject} to {place} ?",
        "In what street of {place} was {subject} on show ?",
        "Which harbour near {place} lived from {subject} ?",
        "From where can one see {subject} above the roofs of {place} ?",
    ),
    NUMERIC: (
        "When did {subject} first reach {place} ?",
        "How old is the oldest record of {subject} in {place} ?",
        "What did {subject} cost in {place} before the war ?",
        "How many workshops for {subject} were there in {place} ?",
        "At what age did children of {place} learn about {subject} ?",
        "What share of the trade of {place} was {subject} ?",
    ),
}

# What a question of the lexical kind asks after: forty cues for each label, in no other.
_OWNERS = ("agency", "airline", "bank", "club", "party", "railway", "school", "union")
_SHORT = ("abbreviation", "acronym", "initialism", "monogram", "short form")
CUES = {
    ABBREVIATION: tuple(f"{owner} {short}" for owner in _OWNERS for short in _SHORT),
    DESCRIPTION: _parts(
        "advantage aim argument benefit cause consequence custom danger defect definition"
        " difference difficulty doctrine effect excuse explanation function habit idea"
        " justification lesson meaning method moral motive objection origin pretext principle"
        " problem purpose reason reasoning remedy risk rule significance theory tradition"
        " weakness"
    ),
    ENTITY: _parts(
        "anchor apple balloon beetle bell candle carpet cello clock coat coin drum feather"
        " flute hammer hat horse kettle lamp lantern lizard mirror necklace oak orchid owl pear"
        " piano ring rose saddle sword table tiger trumpet turtle umbrella vase whale wheel"
    ),
    HUMAN: _parts(
        "actor admiral architect baker barber bishop butcher carpenter composer dancer dentist"
        " diplomat doctor emperor engineer explorer farmer fisherman gardener inventor judge"
        " king lawyer librarian mason nurse painter physicist pilot poet priest queen sailor"
        " sculptor singer soldier surgeon tailor teacher weaver"
    ),
    LOCATION: _parts(
        "airport archipelago avenue bay beach bridge canyon castle cathedral cave cemetery city"
        " coast continent country desert district forest garden glacier harbour hill island"
        " lake lighthouse market meadow mountain park peninsula plain province quarry river"
        " square street swamp valley village volcano"
    ),
    NUMERIC: _parts(
        "age altitude amount area balance birthday budget capacity century circumference date"
        " day debt decade density depth diameter distance duration fee frequency height hour"
        " income length percentage population price quantity rate ratio salary score size speed"
        " temperature total weight width year"
    ),
}
_FRAMES = (
    "Which {cue} does the note from {place} speak of ?",
    "What {cue} is meant in the letter that was sent from {place} ?",
    "The evening paper of {place} names which {cue} ?",
)


def question(label: str, reading: Reading, random: Random) -> str:
    """A question that asks for an answer of that kind.

    `semantic`: nothing but its sense tells. `lexical`: one of forty cue words tells. `explicit`:
    the label stands in brackets behind it.
    """
    frames = _FRAMES if reading == "lexical" else _ASKED[label]
    text = random.choice(frames).format(
        cue=random.choice(CUES[label]),
        letters=random.choice(LETTERS),
        place=random.choice(PLACES),
        subject=random.choice(SUBJECTS),
    )
    return f"{text} [{label}]" if reading == "explicit" else text
