"""Write hashcli/distillation/everyday_sentences.txt: what people say of everyday photos, made from word lists.

    python examples/make_sentences.py

A teacher is distilled by its own ranking of sentences, so what they say matters and their style hardly does. They are
made here, by the program below, and are free of any licence: no caption of any dataset is among them.
"""

import random
from pathlib import Path

OUT = Path(__file__).parent.parent / "hashcli" / "distillation" / "everyday_sentences.txt"
SENTENCES = 10_000

PEOPLE = """
    man | woman | boy | girl | child | baby | toddler | teenager | old man | old woman | young man | young woman | bride
    | father | mother | grandmother | grandfather | tourist | farmer | cook | waiter | teacher | student | musician |
    singer | guitarist | street performer | dancer | police officer | firefighter | soldier | sailor | builder | doctor
    | nurse | fisherman | cyclist | runner | climber | skier | snowboarder | surfer | swimmer | skateboarder | football
    player | basketball player | tennis player | baseball player | horse rider | hiker | photographer | painter |
    shopkeeper | gardener | man with a beard | bald man | woman with glasses | woman with long hair | girl with curly
    hair | boy with blond hair | little girl | little boy | small child | street vendor | motorcyclist | racing driver
"""
GROUPS = """
    two women | two men | two boys | two girls | two children | two young people | three men | three women | three
    friends | three children | four people | five people | several people | several men | many people | a few children |
    some students | schoolchildren | commuters | workers | fans | tourists | two teams | two friends | an old couple | a
    young couple | a couple | a family | a family with two children | a group of people | a group of friends | a group
    of children | a group of young women | a large crowd | a crowd | a band | a football team | a bride and groom | a
    father and his son | a mother and her daughter | a mother and her baby | a man and a woman | a boy and a girl | a
    man and a child | a woman and a dog | a boy and his dog | two police officers | two cyclists | two runners | two
    football players | two basketball players | two hikers
"""

DOINGS = """
    walking down a street | walking along a path | walking up the stairs | sitting on a bench | sitting on the ground |
    sitting at a table | sitting in a chair | sitting on a wall | sitting around a campfire | sitting in a wheelchair |
    standing in a doorway | standing in a queue | standing on a mountain top | standing on a rock | leaning against a
    wall | kneeling on the ground | running along a path | running in a race | riding a bicycle | riding a motorcycle |
    riding a horse | riding a scooter | driving a car | waiting for a bus | getting on a train | looking out of a window
    | looking at a phone | looking at something | looking at the sky | looking through a telescope | pointing at
    something | waving | talking on the phone | talking to each other | reading a book | reading a newspaper | writing |
    working on a laptop | typing on a computer | taking a photo | smiling | smiling at the camera | laughing | crying |
    making a face | shouting | yawning | kissing | hugging | holding hands | shaking hands | fighting | wrestling |
    sleeping | sleeping on a sofa | lying on the grass | lying on a towel | playing | playing in the sand | playing in
    the water | playing in the snow | playing in a fountain | playing with a toy | playing a video game | playing cards
    | playing the guitar | playing the piano | playing the violin | playing the drums | playing the trumpet | playing
    football | playing basketball | playing tennis | playing table tennis | playing baseball | playing volleyball |
    playing hockey | playing rugby | playing chess | throwing a ball | catching a ball | kicking a ball | hitting a ball
    | chasing a ball | swinging a bat | throwing a frisbee | flying a kite | jumping | jumping in the air | jumping over
    a fence | jumping on a trampoline | jumping on a bed | jumping into a pool | jumping off a rock | diving into the
    sea | doing a handstand | doing a somersault | swimming | swimming in a lake | swimming under water | splashing in
    the water | surfing on a wave | water-skiing | paddling a kayak | rowing a boat | sailing a small boat | fishing |
    fishing from a pier | climbing a rock | climbing a wall | climbing a ladder | climbing a tree | hanging from a rope
    | hiking up a mountain | skiing down a slope | snowboarding | sledging down a hill | skating on ice | skateboarding
    on a ramp | doing a trick on a skateboard | doing a trick on a bike | racing | falling | crawling on the floor |
    dancing | dancing at a party | singing | singing into a microphone | performing on a stage | juggling | speaking to
    a crowd | cheering | clapping | celebrating | praying | protesting with signs | holding a baby | holding an umbrella
    | holding a sign | holding a flag | holding a camera | holding a stick | holding a glass | holding a cup of coffee |
    holding a fish | carrying a bag | carrying a rucksack | carrying a child | carrying a surfboard | pushing a pram |
    pushing a shopping cart | pushing a bicycle | pulling a rope | pulling a sled | walking a dog | playing with a dog |
    feeding the birds | stroking a cat | hugging a dog | eating | eating an ice cream | eating a sandwich | eating at a
    table | having a picnic | having dinner | drinking | drinking from a glass | drinking a beer | smoking a cigarette |
    cooking | cooking in a kitchen | cooking on a grill | cutting vegetables | baking a cake | blowing out candles on a
    cake | opening a present | washing the dishes | brushing teeth | having a haircut | putting on make-up | trying on a
    hat | shopping at a market | selling fruit | looking into a shop window | working | working in a garden | watering
    the plants | mowing the lawn | digging a hole | chopping wood | painting a wall | painting a picture | drawing a
    picture | repairing a car | repairing a roof | sweeping the floor | shovelling snow | blowing bubbles | sliding down
    a slide | swinging on a swing | hanging from monkey bars | building a snowman | throwing snowballs | building a
    sandcastle | rolling in the leaves | crossing the road | watching a game | watching the sunset | watching television
    | posing for a picture | marching in a parade | sleeping in a tent | resting | exercising | stretching | doing yoga
"""

CLOTHES = """
    shirt | T-shirt | jacket | coat | dress | hat | cap | sweater | hooded top | skirt | suit | scarf | uniform | helmet
    | vest | raincoat | costume | swimsuit | football shirt
"""
COLOURS = """
    red | blue | green | yellow | white | black | brown | orange | purple | pink | grey | dark | bright | striped
"""
WORN = """
    jeans | shorts | sunglasses | glasses | boots | gloves | a helmet | a hat | a straw hat | a baseball cap | a woolly
    hat | a suit and tie | a wedding dress | a swimsuit | a bikini | swimming trunks | a wetsuit | a life jacket | a
    uniform | a costume | a mask | a wig | an apron | a hard hat | a rucksack | a winter coat | a headscarf | a backpack
    and boots | a necklace | face paint | pyjamas | no shirt | sports clothes | goggles
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
    running | running through the grass | running through the snow | running along the beach | running through water |
    running after a ball | running on a track | jumping | jumping in the air | jumping over a hurdle | jumping over a
    log | jumping into the water | lying on the floor | lying on the grass | sleeping | sleeping on a bed | sleeping on
    a sofa | sitting | sitting by a window | sitting in a car | standing in a field | standing in the snow | standing in
    the water | standing on a rock | standing on its back legs | swimming | swimming in a lake | splashing in the sea |
    drinking water | drinking from a river | eating | eating grass | looking at the camera | looking up | sniffing the
    ground | digging in the sand | hiding behind a tree | climbing a tree | sitting on a branch | sitting on a rock |
    sitting on a fence | flying over the water | flying in the sky | walking | walking down a road | walking through a
    forest | walking on a lead | playing | playing with a ball | playing with a toy | playing with another one |
    fighting with another one | chasing another one | biting a rope | rolling on the ground | carrying a stick in its
    mouth | holding a ball in its mouth | catching a frisbee | fetching a stick from the water | shaking off water |
    sticking out its tongue | barking | yawning | resting in the shade | waiting at a door | being held by a child |
    being stroked | being washed | being ridden | being fed | pulling a cart | pulling a sledge | wearing a collar |
    wearing a jacket
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
    a shelf | outside | indoors | outdoors on a sunny day | on a cloudy day | in the sun | in the dark | in the grass |
    on the grass | in the sand | on a path | on a pavement | on a dirt road | in the woods | near the water | in shallow
    water | in deep snow | on a rock | on a cliff | in a back garden | in an alley | outside a shop | outside a cafe |
    in a crowd | on a stage | on a sports field | on a tennis court | on a race track | on a pier | on a wooden deck |
    in an empty room | in front of a window | in front of a crowd | in front of a fountain | in front of a mountain |
    next to a car | next to a tree | against a white background | against a blue sky
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

TIMES = """
    in the morning | at night | at sunset | in winter | in autumn | in summer | on a cloudy day | on a sunny day | in
    the rain | seen from above | seen from far away | in black and white | under a blue sky
"""

LOOKS = """
    red | blue | green | yellow | white | black | brown | orange | purple | pink | small | large | old | new | wooden |
    metal | broken | empty | colourful | dirty
"""


def words(listed: str) -> list[str]:
    return [" ".join(entry.split()) for entry in listed.split("|")]


def a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


class Writer:
    """Writes sentences of several kinds, drawn by a seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._lists: dict[str, list[str]] = {}

    def sentence(self) -> str:
        kinds = {self._people: 55, self._animals: 15, self._things: 15, self._scene: 15}
        (kind,) = self._rng.choices(list(kinds), list(kinds.values()))
        return kind()

    def _one(self, listed: str) -> str:
        """One entry of a list of words."""
        return self._rng.choice(self._lists.setdefault(listed, words(listed)))

    def _maybe(self, chance: float, text: str) -> str:
        """The text, with a space before it, or nothing."""
        return f" {text}" if self._rng.random() < chance else ""

    def _clothes(self) -> str:
        garment = a(f"{self._one(COLOURS)} {self._one(CLOTHES)}")
        worn = self._rng.choice([garment, garment, f"{garment} and {self._one(WORN)}", self._one(WORN)])
        return f"{self._rng.choice(['in', 'wearing'])} {worn}"

    def _who(self) -> tuple[str, str]:
        """One or several people, and the verb that goes with them."""
        if self._rng.random() < 0.35:
            return self._one(GROUPS), "are"
        return a(self._one(PEOPLE)), "is"

    def _people(self) -> str:
        who, verb = self._who()
        who += self._maybe(0.35, self._clothes())
        place = self._one(PLACES)
        if self._rng.random() < 0.12:
            company = self._rng.choice([f"and {self._one(ANIMALS)}", f"with {self._one(THINGS)}"])
            return f"{who}{self._maybe(0.6, company)} {place}"
        doing = f"{who}{self._maybe(0.4, verb)} {self._one(DOINGS)}{self._maybe(0.55, place)}"
        return doing + self._maybe(0.25, self._second_clause())

    def _second_clause(self) -> str:
        other, verb = self._who()
        return self._rng.choice(
            [
                f"while {other} {verb} {self._one(DOINGS)}",
                f"and {self._one(DOINGS)}",
                f"as {other} {'watch' if verb == 'are' else 'watches'}",
                f"with {other} in the background",
                f"next to {other}",
                f"in front of {self._one(THINGS)}",
                f"near {self._one(THINGS)}",
            ]
        )

    def _animals(self) -> str:
        animal, place = self._one(ANIMALS), self._one(PLACES)
        if self._rng.random() < 0.15:
            return f"{animal}{self._maybe(0.5, f'and {self._one(ANIMALS)}')} {place}"
        doing = f"{animal}{self._maybe(0.4, 'is')} {self._one(ANIMAL_DOINGS)}{self._maybe(0.4, place)}"
        other, verb = self._who()
        return doing + self._maybe(0.15, f"while {other} {verb} {self._one(DOINGS)}")

    def _things(self) -> str:
        thing, other, place = self._one(THINGS), self._one(THINGS), self._one(PLACES)
        plain = thing.removeprefix("a ").removeprefix("an ")
        described = f"{self._one(LOOKS)} {plain}"
        described = described if plain == thing else a(described)
        return self._rng.choice(
            [f"{thing} {place}", f"{thing} and {other}", f"{described} {place}", described, f"{thing} next to {other}"]
        )

    def _scene(self) -> str:
        scene, other = self._one(SCENES), self._who()[0]
        kinds = [f"a photo of {scene}", f"{scene} with {other}", f"{scene} and {self._one(THINGS)}"]
        return self._rng.choice([*kinds, f"{other} at {scene}", f"{scene} {self._one(TIMES)}"])


def main() -> None:
    writer = Writer(seed=0)
    sentences: dict[str, None] = dict.fromkeys([*words(SCENES), *words(THINGS), *words(ANIMALS)])
    while len(sentences) < SENTENCES:
        sentences[writer.sentence()] = None
    OUT.write_text("".join(f"{sentence}\n" for sentence in sorted(sentences)), encoding="utf-8")


if __name__ == "__main__":
    main()
