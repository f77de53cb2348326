"""Made-up mentions for measuring: seeded, none like another, with the look and the mix of posts to airlines."""

import random
from collections.abc import Iterator


def _list(text: str) -> list[str]:
    return [item for line in text.strip("\n").split("\n") for item in line.split("|")]


_OPENINGS = _list("""
@SouthwestAir|@Delta|@united|Dear @Delta,|Hey @SouthwestAir|So @united just|Shoutout to @SouthwestAir:
Never again @united.|RT @{handle}:|{name} from @Delta|@{handle} @SouthwestAir|Okay @united seriously|Update:
Question for @SouthwestAir -|Thanks @Delta!|Hi @united,|@southwestair|#{tag}|“@{handle}: what a day”
""")
_MIDDLES = _list("""
my flight to {city} was cancelled and nobody at the gate could tell us why
you lost my bag again and your office in {city} does not answer
we have been sitting on the tarmac for {small} hours without water or an update
I've been on hold for ages trying to rebook {flight}, is anybody there
the crew was absolutely amazing, {name} made my daughter's day
how do I add a {thing} to my reservation? The website keeps failing
why does a {thing} cost ${money} now
{code}-{code} delayed again and now I will miss my connection in {city}
can't check in online, the app crashes every single time for my {person}
thank you for getting us home to {city} despite the storm, great job everyone
the agent at the counter was rude to my {person} and refused to help with a {thing}
really disappointed that my {thing} came back broken from {city}, who pays for this
I love the new seats, but the wifi to {city} was so slow it was useless
is there any way to get a refund for {flight} in {month}? My {person} is ill
just landed in {city}, early and with all bags, not bad at all
mi vuelo a {city} lleva horas de retraso y nadie nos dice nada, {name}
my {person} uses a wheelchair and was left alone at gate {gate} by {name}
flying to {city} with my {person} on {month} {small}, any tips for the airport
they gave my seat away, then charged me for another {thing}
no complaints this time: on time, friendly, and a free {thing} from {name}
the line at {code} goes out of the door and there are only two people at the desks
what is going on in {city}? every screen shows cancelled, says my {person}
great to see {city} added to the map, I will book many trips a year
worst customer service I have ever had, {name} hung up on me and on my {person}
see you all in {city} next week, my {person} and {name} are coming too
is {name} still working for you? We met in {city} once
our fleet is on its way to {city}, says {name}
I think it is your turn to say something to {name} and me
ok I just sent you a message about {city}
you should ask {name}, who knows more about that than I do
{city} in {month} with {name}, what a plan
we would like to hear from you about the {thing} we talked about with {name}
""")
_ENDINGS = _list("""
!|!!|...|?| 😡|, thanks 😊|. #{tag}| #{tag} #{tag}| https://t.co/{link}|. Please help!| 🙄🙄|. Not happy
, so frustrating|. Love it|. Smh|. My confirmation is {pnr}|. Any update?|. Can someone DM me?|. NEVER AGAIN
 👏👏👏|, really?!|. I want my money back|. You can do better|, {minutes} minutes and counting
""")
_SLOTS = {
    "city": _list("""
Denver|Austin|Chicago|Nashville|Oakland|Phoenix|Baltimore|Tampa|Boston|Seattle|Portland|Houston|Dallas|Orlando
Newark|Atlanta|Detroit|Omaha|Tulsa|Reno|Boise|Memphis|St. Louis|San Diego|Las Vegas|New Orleans|Kansas City
"""),
    "code": _list("DAL|HOU|MDW|BWI|LAS|DEN|PHX|ATL|ORD|EWR|SFO|LAX|JFK|BOS|SEA|MCO|TPA|AUS|BNA|STL"),
    "thing": _list("""
stroller|guitar|suitcase|car seat|wheelchair|carry-on|pet|meal|drink|voucher|second bag|seat upgrade|lap infant
"""),
    "person": _list(
        "mother|grandfather|daughter|son|wife|husband|friend|toddler|team|boss|neighbour|students"
    ),
    "month": _list("January|February|March|April|June|July|August|September|October|November|December"),
    "feeling": _list("Fail|Travel|Delayed|Love|Stuck|Flying"),
    "airline": _list("WN|DL|UA|flight |Flight "),
}
_SYLLABLES = _list(
    "an|bel|cor|da|el|fir|gan|hol|in|jor|ka|lu|mar|nor|os|pel|qui|ra|sol|tam|ul|ven|wil|xa|yor|zen"
)


def texts(count: int, seed: int = 1) -> Iterator[str]:
    """Yield `count` texts, all different: posts of about 100 characters, and one in ten a comment of four times that."""
    chance = random.Random(seed)
    seen: set[str] = set()
    while len(seen) < count:
        form = f"{chance.choice(_OPENINGS)} {chance.choice(_MIDDLES)}{chance.choice(_ENDINGS)}"
        if chance.random() < 0.1:
            form = ". ".join([form, *chance.sample(_MIDDLES, 4)])
        text = form.format_map(_Slots(chance))
        if text not in seen:
            seen.add(text)
            yield text


class _Slots(dict[str, str]):
    """Fills each place of a form anew."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def __missing__(self, name: str) -> str:
        chance = self._chance
        if name in _SLOTS:
            return chance.choice(_SLOTS[name])
        word = "".join(chance.choices(_SYLLABLES, k=chance.randint(2, 4)))
        match name:
            case "handle":
                return f"{word}{chance.randint(1, 999)}"
            case "name":
                return word.title()
            case "tag":
                return chance.choice(_SLOTS["feeling"]) + word.title()
            case "flight":
                return f"{chance.choice(_SLOTS['airline'])}{chance.randint(10, 4999)}"
            case "gate":
                return f"{chance.choice('ABCDE')}{chance.randint(1, 60)}"
            case "small":
                return str(chance.randint(2, 12))
            case "minutes":
                return str(chance.randint(15, 240))
            case "money":
                return str(chance.randint(20, 900))
            case "link":
                return "".join(chance.choices("abcdefghkmnpqrstuvwxyzABCDEFGHKMNPQRSTUVWXYZ0123456789", k=10))
            case "pnr":
                return "".join(chance.choices("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=6))
        raise KeyError(name)
