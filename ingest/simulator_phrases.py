"""What the simulated customers say. Written for the demo; nobody's real words.

Slots: {at} the airline as addressed, {name} its name, {code} its two letters, {port} an airport, {far} another,
{hours} a number, {flight} a flight number, {thing} something small.
"""

COMPLAINTS: dict[str, tuple[str, ...]] = {
    "late": (
        "{at} {hours} hours late out of {port} and not one announcement. What is going on?",
        "Still sitting at {port}. {at} flight {code}{flight} has been delayed four times now",
        "{at} why is {code}{flight} to {far} delayed again? I have a connection to make",
        "Third delay this month with {name}. I am going to miss my sister's wedding dinner.",
        "sat on the tarmac at {port} for {hours} hours, no water, no update. Thanks {at}",
        "{name} delay at {port}: gate agent says crew is late, app says weather. Pick one.",
    ),
    "cancelled": (
        "{at} just cancelled {code}{flight} and the next seat is in two days. Unacceptable",
        "Flight to {far} cancelled while we were boarding. {at} no hotel, no voucher, nothing",
        "{at} cancelled my flight from {port} and I have been on hold for {hours} hours",
        "so {name} cancels and rebooks us through {far} tomorrow night?! with two kids",
        "Cancelled again. {at} you owe a lot of people at {port} an apology",
    ),
    "baggage": (
        "{at} my bag is not in {port} and nobody at the counter can say where it is",
        "Day {hours} without my suitcase. {at} the tracking page just says 'in transit'",
        "{at} you lost my luggage between {port} and {far} and the phone line hangs up on me",
        "Bag came out at {port} with a wheel torn off, {at}. Who do I talk to?",
        "{name} charged me for a checked bag and then lost it. Impressive.",
    ),
    "service": (
        "{at} been on hold {hours} hours, got cut off, called back, on hold again",
        "Nobody answers DMs, nobody answers the phone. {at} is anyone there?",
        "The agent at {port} rolled her eyes when I asked about my connection. {at} do better",
        "{at} your chat bot keeps sending me in circles. I need a human",
        "Worst customer service I have had in years, {name}. Truly.",
    ),
    "booking": (
        "{at} your site crashes every time I try to pay for {port} to {far}",
        "{at} app will not let me check in, keeps saying error 500",
        "Charged twice for one ticket, {at}. Refund please, it has been {hours} weeks",
        "{name} changed my seat without asking and put my kid {hours} rows away",
    ),
    "onboard": (
        "Broken seat, no wifi, and {hours} hours of it. {name} flight {code}{flight} was rough",
        "{at} the cabin on {code}{flight} was filthy, crumbs from three flights ago",
        "flight attendant on {code}{flight} was so rude to the lady next to me {at}",
    ),
    "lines": (
        "{name} check-in line at {port} is out the door and two desks are open",
        "{hours} hour line to drop a bag at {port}. {at} please open more counters",
    ),
}

QUESTIONS = (
    "{at} can I bring a small cooler as a carry-on to {far}?",
    "{at} does {code}{flight} have wifi today?",
    "Anyone know if {name} lets you switch to an earlier flight same day?",
    "{at} how early should we be at {port} on a Friday?",
    "{at} what is the pet policy from {port} to {far}?",
    "Is {name} still running the fall fare sale? asking for {thing}",
    "{at} I need to add a lap infant to my booking, how?",
)

PRAISE = (
    "Shout out to the {name} crew on {code}{flight}, made my kid's first flight magic",
    "{at} thank you to the gate agent at {port} who found my {thing}!",
    "Early arrival AND a great view into {far}. Nice one {at}",
    "{name} rebooked me in two minutes without a fuss. That is how you do it",
    "Love the new seats on {name}. Slept from {port} to {far}",
    "{at} you fixed it, thank you so much, great service",
    "Best flight in ages: on time, friendly crew, free {thing}. {at}",
)

NEUTRAL = (
    "{port} to {far} with {name} this morning",
    "Boarding {code}{flight} at {port}",
    "{name} adds a daily flight from {port} to {far} starting in spring",
    "Saw a {name} plane with the old paint at {port} today",
    "packing for {far}, flying {name} tonight",
    "{name} reports quarterly results on Thursday, says it expects more travel to {far}",
    "New route alert: {name} from {port} to {far}",
)

OTHER_LANGUAGES: dict[str, tuple[str, ...]] = {
    "es": (
        "{at} llevamos {hours} horas esperando en {port} y nadie nos da información del vuelo",
        "{at} perdieron mi maleta en {port}, ¿con quién hablo?",
        "Muchas gracias a la tripulación de {name}, un vuelo excelente a {far}",
        "¿Alguien sabe si {name} permite cambiar el vuelo de {port} a {far} el mismo día?",
    ),
    "fr": (
        "{at} mon vol de {port} a encore {hours} heures de retard, personne au comptoir",
        "Merci à l'équipage de {name} pour ce très beau vol vers {far}",
    ),
    "de": (
        "{at} mein Koffer ist nicht in {port} angekommen, wer kann mir helfen?",
        "Mit {name} von {port} nach {far}, pünktlich und freundlich, gerne wieder",
    ),
    "pt": (
        "{at} meu voo de {port} foi cancelado e ninguém atende o telefone",
        "Ótimo voo com a {name} para {far}, tripulação muito simpática",
    ),
    "ja": ("{at} {port}で荷物が届きません。どこに連絡すればいいですか", "{name}のフライト、とても快適でした"),
}

REPLIES = (
    "same here, {port} is a mess",
    "Happened to me last week with {name}. Keep your receipts.",
    "did they say anything about a voucher?",
    "hope you get home soon",
    "This. {at} please look into it",
    "I was on that flight too, crew did their best though",
    "Try the desk by the food court at {port}, no line there",
)

OWN_ANSWERS = (
    "We are sorry for the wait. Please send us a DM with your confirmation number and we will take a look.",
    "Thanks for flying with us! We will pass this on to the crew.",
    "We hear you. Our team at the airport is working on it; we will follow up by DM.",
)

THINGS = ("headphones", "a friend", "phone", "passport", "snacks", "coffee", "teddy bear", "jacket")
TAILS = {
    "complaint": ("", "", "", "!", "!!", " 😡", " 🙄", " #fail", " smh", " please help"),
    "praise": ("", "", "!", "!!", " 😊", " 🙏", " #avgeek", " ❤️"),
    "other": ("", "", "", "", " #travel", " #avgeek", " 🙏", " ✈️"),
}
HANDLES = (
    ("window", "aisle", "gate", "sky", "cloud", "jet", "road", "coast", "lone", "desert", "lake", "prairie"),
    ("seat", "runner", "watcher", "nomad", "hopper", "miles", "star", "rover", "fox", "owl", "otter", "wren"),
)
