"""Write hashcli/distillation/everyday_sentences.txt: what people say of everyday photos, made from word lists.

    python examples/make_sentences.py

A teacher is distilled by its own ranking of sentences, so what they say matters and their style hardly does. They are
made here, by the program below, and are free of any licence: no caption of any dataset is among them.
"""

import random
from pathlib import Path

OUT = Path(__file__).parent.parent / "hashcli" / "distillation" / "everyday_sentences.txt"
SENTENCES = 6000

PEOPLE = """
    a man | a woman | a boy | a girl | a child | a baby | an old man | an old woman | a young couple | a family | a
    group of people | a crowd | a bride and groom | a father and his son | a mother and her baby | a tourist | a farmer
    | a cook | a waiter | a teacher | a musician | a street performer | a dancer | a police officer | a firefighter | a
    soldier | a worker in a hard hat | a doctor | a fisherman | a cyclist | a runner | a climber | a skier | a
    snowboarder | a surfer | a swimmer | a skateboarder | a football player | a basketball player | a tennis player | a
    baseball player | a horse rider | a man with a beard | a woman in a red dress | a man in a suit | a girl in a pink
    jacket | a boy in a blue shirt | a woman with glasses | a toddler | a teenager | a grandmother | a hiker | a
    photographer | a painter | a shopkeeper
"""
GROUPS = """
    two women | two men | two children | three friends | students | schoolchildren | commuters | workers | fans
"""

DOINGS = """
    walks down a street | sits on a bench | stands in a doorway | runs along a path | rides a bicycle | rides a
    motorcycle | rides a horse | drives a car | waits for a bus | gets on a train | looks out of a window | looks at a
    phone | talks on the phone | reads a book | reads a newspaper | works on a laptop | types on a computer | takes a
    photo | smiles at the camera | laughs | sleeps on a sofa | lies on the grass | plays in the sand | plays in the
    water | plays in the snow | plays the guitar | plays the piano | plays the violin | plays the drums | plays football
    | plays basketball | plays tennis | plays baseball | plays volleyball | plays chess | throws a ball | catches a ball
    | kicks a ball | throws a frisbee | flies a kite | jumps over a fence | jumps into a pool | dives into the sea |
    swims in a lake | surfs on a wave | paddles a kayak | rows a boat | sails a small boat | fishes from a pier | climbs
    a rock | climbs a ladder | climbs a tree | hikes up a mountain | skis down a slope | snowboards in the air | skates
    on ice | skateboards on a ramp | does a trick on a bike | dances at a party | sings into a microphone | speaks to a
    crowd | holds a baby | holds an umbrella | holds a sign | holds a cup of coffee | carries a bag | carries a
    surfboard | pushes a pram | pushes a shopping cart | walks a dog | feeds the birds | pets a cat | hugs a dog | eats
    an ice cream | eats a sandwich | eats at a table | drinks from a glass | drinks a beer | cooks in a kitchen | cuts
    vegetables | bakes a cake | blows out candles on a cake | opens a present | washes the dishes |
    has a haircut | tries on a hat | shops at a market | sells fruit | works in a garden | waters the plants | mows the
    lawn | chops wood | paints a wall | draws a picture | repairs a car | repairs a roof | sweeps the floor | blows
    bubbles | slides down a slide | swings on a swing | builds a snowman | builds a sandcastle | pulls a sled | rolls in
    the leaves | stands on a mountain top | crosses the road | watches a game | watches the sunset | poses for a picture
    | marches in a parade | sits around a campfire | sits in a wheelchair
"""

ANIMALS = """
    a dog | a brown dog | a black dog | a white dog | a small dog | a puppy | a cat | a black cat | a grey cat | a
    kitten | a horse | a cow | a herd of cows | a sheep | a flock of sheep | a goat | a pig | a donkey | a rabbit | a
    squirrel | a fox | a deer | a bear | a wolf | an elephant | a lion | a tiger | a leopard | a giraffe | a zebra | a
    monkey | a gorilla | a kangaroo | a camel | a rhinoceros | a hippopotamus | a panda | a penguin | a seal | a dolphin
    | a whale | a shark | a fish | a turtle | a snake | a lizard | a frog | a crab | a bird | a flock of birds | a
    seagull | a pigeon | a duck | a swan | a goose | a chicken | a rooster | a turkey | an owl | an eagle | a parrot | a
    peacock | a flamingo | a hummingbird | a butterfly | a bee on a flower | a spider in its web | a snail | a ladybird
    | a dragonfly
"""

ANIMAL_DOINGS = """
    runs through the grass | runs along the beach | jumps in the air | lies on the floor | sleeps on a bed | sleeps on a
    sofa | sits by a window | stands in a field | stands in the snow | stands in the water | swims in a lake | drinks
    from a river | eats grass | looks at the camera | looks up | hides behind a tree | climbs a tree | sits on a branch
    | sits on a rock | sits on a fence | walks down a road | walks through a forest | plays with a ball | plays with
    another one | carries a stick in its mouth | catches a frisbee | shakes off water | rests in the shade | is held by
    a child | is behind a fence | is in a cage | looks out of a car window | wears a collar | is wet
"""

PLACES = """
    on a beach | in a park | in a forest | in a field | in a garden | in the mountains | in the desert | in the snow |
    in the rain | in the city | in a village | in a kitchen | in a living room | in a bedroom | in a bathroom | in an
    office | in a classroom | in a library | in a museum | in a church | in a restaurant | in a bar | in a shop | in a
    market | in a supermarket | at an airport | at a station | on a train | on a bus | on a boat | on a bridge | on a
    street corner | on a busy street | on a country road | on a motorway | in a parking lot | in a stadium | in a gym |
    in a swimming pool | in a playground | at a zoo | at a farm | at a fair | at a concert | at a wedding | at a
    birthday party | at night | at sunset | at sunrise | in the morning | in autumn | in spring | in winter | in summer
    | in front of a house | in front of a wall | behind a fence | under a tree | under a bridge | by a river | by a lake
    | by the sea | by a waterfall | on a hill | on a rooftop | on a balcony | on stairs | on a table | on the floor | on
    a shelf
"""

THINGS = """
    a red car | a black car | an old car | a racing car | a police car | a taxi | a truck | a fire engine | an ambulance
    | a bus | a double-decker bus | a tram | a train | a steam engine | a metro train | a motorcycle | a scooter | a
    bicycle | a row of bicycles | a tractor | an aeroplane | a helicopter | a hot air balloon | a sailing boat | a
    fishing boat | a cruise ship | a canoe | a rocket | a bench | a fountain | a statue | a clock tower | a lighthouse |
    a windmill | a castle | a palace | a cathedral | a mosque | a temple | a skyscraper | a row of houses | a wooden hut
    | a barn | a red barn | a tent | a stone wall | a wooden fence | a gate | a door | a blue door | a window with
    flowers | a street lamp | a traffic light | a stop sign | a road sign | graffiti | a mural | a poster | a flag |
    fireworks | a bonfire | candles | a lamp | a mirror | a clock | a watch | a camera | a computer | a keyboard | a
    mobile phone | a television | a radio | a guitar | a piano | a violin | a drum kit | a microphone | books | a
    bookshelf | a newspaper | a map | a toy car | a teddy bear | a doll | toys | a football | a tennis racket | a
    baseball glove | a surfboard | a skateboard | skis | a pair of shoes | boots | a hat | sunglasses | an umbrella | a
    handbag | a suitcase | a rucksack | a sofa | an armchair | a chair | a table | a bed | a desk | a bathtub | a sink |
    a toilet | a fridge | an oven | a kettle | pots and pans | plates and bowls | knives and forks | a vase of flowers |
    a potted plant | a bunch of roses | sunflowers | tulips | a cactus | mushrooms | a cup of coffee | a cup of tea | a
    glass of wine | a glass of beer | a cocktail | a bottle of water | a pizza | a hamburger | a sandwich | a hot dog |
    a bowl of soup | a salad | pasta | sushi | noodles | rice and vegetables | roast chicken | a steak | fish and chips
    | eggs and bacon | pancakes | bread | a birthday cake | a chocolate cake | cupcakes | biscuits | doughnuts | ice
    cream | a pie | cheese | apples | bananas | oranges | strawberries | grapes | a pumpkin | tomatoes | peppers | a
    pile of fruit | vegetables on a market stall | old coins | bank notes | a chessboard | playing cards | tools | a
    hammer | scissors | a ladder | a rope | a chain | wheels | an engine | wires | a crane | a bulldozer | a factory | a
    power station | wind turbines | a dam | railway tracks | a tunnel | an escalator | a lift | a staircase | a spiral
    staircase | a swimming pool | a tennis court | a running track
"""

SCENES = """
    the sea | waves breaking on rocks | a sandy beach with palm trees | a tropical island | a rocky coast | a harbour
    full of boats | a calm lake with mountains behind it | a river in a valley | a waterfall in a forest | a snowy
    mountain | a mountain range | a glacier | a volcano | a canyon | sand dunes | a desert road | a green meadow | a
    field of wheat | a field of flowers | a vineyard | an orchard | a rice terrace | a pine forest | a path through the
    woods | autumn leaves | a bare tree | a cherry tree in blossom | a garden with a pond | a foggy morning | a cloudy
    sky | a blue sky | a sunset over the sea | a sunrise behind hills | a rainbow | lightning | a storm | the moon | the
    full moon over trees | the night sky full of stars | a galaxy | the northern lights | a city skyline | a city at
    night | a street with shops | an empty street | a narrow alley | a town square | a street market | traffic at night
    | a traffic jam | a crossroads | a bridge over a river | a suspension bridge | a railway station | a platform | an
    airport hall | a runway | a church interior | a concert hall | a theatre stage | a cinema | a classroom with desks |
    an office with computers | a meeting room | a hospital corridor | a laboratory | a workshop | a garage | an attic |
    a cellar | a corridor | a hotel room | a child's bedroom | a modern kitchen | a dining room | a fireplace | a
    swimming pool with blue water | a playground | a football stadium | a race track | a ski slope | a golf course | a
    camp site | a cemetery | ruins | a building site | a rubbish dump | a close-up of a leaf | a close-up of a flower |
    a close-up of an eye | a close-up of a hand | water drops | a spider's web with dew | ice on a window | footprints
    in the snow | footprints in the sand | shadows on a wall | reflections in a puddle | a black and white portrait | an
    old photograph | a drawing of a face | a painting of a landscape | a page of text | a diagram | a screenshot | a map
    of a city | a pattern of tiles | a brick wall | grass | gravel | wood | rusty metal | fabric | an X-ray | cells
    under a microscope
"""

LOOKS = """
    red | blue | green | yellow | white | black | brown | orange | purple | pink | small | large | old | new | wooden |
    metal | broken | empty | colourful | dirty
"""


def words(listed: str) -> list[str]:
    return [" ".join(entry.split()) for entry in listed.split("|")]


def make(rng: random.Random) -> str:
    """One sentence, of one of several kinds."""
    people, doings, animals, places, things, scenes = map(words, (PEOPLE, DOINGS, ANIMALS, PLACES, THINGS, SCENES))
    kind = rng.random()
    person, animal, thing, place = (rng.choice(one) for one in (people, animals, things, places))
    if kind < 0.30:
        return rng.choice([f"{person} {rng.choice(doings)}", f"{person} {rng.choice(doings)} {place}"])
    if kind < 0.42:
        person = rng.choice([person, rng.choice(words(GROUPS))])
        return rng.choice([f"{person} {place}", f"{person} and {animal} {place}", f"{person} with {thing}"])
    if kind < 0.62:
        doing = rng.choice(words(ANIMAL_DOINGS))
        return rng.choice([f"{animal} {doing}", f"{animal} {doing} {place}", f"{animal} {place}", animal])
    if kind < 0.82:
        other = rng.choice(things)
        look = rng.choice(words(LOOKS))
        plain = thing.removeprefix("a ").removeprefix("an ")
        described = f"{'an' if look[0] in 'aeiou' else 'a'} {look} {plain}" if plain != thing else f"{look} {thing}"
        return rng.choice([thing, f"{thing} {place}", f"{thing} and {other}", f"{described} {place}", described])
    scene = rng.choice(scenes)
    return rng.choice([scene, f"a photo of {scene}", f"{scene} with {person}", f"{scene} and {thing}"])


def main() -> None:
    rng = random.Random(0)
    sentences: dict[str, None] = dict.fromkeys([*words(SCENES), *words(THINGS), *words(ANIMALS)])
    while len(sentences) < SENTENCES:
        sentences[make(rng)] = None
    OUT.write_text("".join(f"{sentence}\n" for sentence in sorted(sentences)), encoding="utf-8")


if __name__ == "__main__":
    main()
