"""Where the writer stands: sentences as travellers write them, several a stage."""

import pytest

from enrich.phrasebook import load
from hark.settings import SHIPPED
from hark.trends.report import STAGES
from tests.support.judged import judged

SENTENCES = {
    "plan": [
        "Thinking of flying to Denver in May, which airline is best?",
        "does @SouthwestAir fly from Austin to Boston nonstop?",
        "when do summer fares come out?",
        "@Delta any deals to Hawaii for spring break?",
        "Trying to decide where to go for our honeymoon",
        "Is there a direct flight to Reykjavik?",
        "Anyone know the cheapest airline to Mexico City?",
        "Planning our honeymoon, where should we go?",
        "Do you offer flights to Cuba yet?",
        "dreaming of a vacation in Italy next summer",
    ],
    "book": [
        "I can't book a flight, your app keeps crashing at payment",
        "@SouthwestAir how do I use my travel credit to book",
        "charged twice for the same ticket",
        "How do I add my known traveler number to my reservation?",
        "Never got the confirmation email for the flight I bought",
        "promo code does not work at checkout",
        "your website logged me out while paying for my ticket",
        "booked the wrong date, can somebody fix my reservation",
        "tried to redeem points for an award flight",
        "the price went up while I was buying",
    ],
    "check-in": [
        "App won't let me check in online",
        "checked in exactly 24 hours before and still got C group",
        "the line at bag drop is an hour long",
        "kiosk ate my passport",
        "cannot download my boarding pass",
        "the counter agent made me pay for an overweight bag",
        "How early does the ticket counter open?",
        "boarding pass won't load in the app",
        "paid $75 at the counter for two extra pounds",
    ],
    "airport": [
        "TSA line at DEN is out the door",
        "our gate changed three times",
        "delayed again, sitting in the terminal",
        "no one at the gate knows anything",
        "flight cancelled, stuck in Chicago",
        "lounge is packed",
        "security line wraps around the building",
        "another gate change, running across the airport",
        "5 hour delay and no word",
        "stranded in Newark overnight",
    ],
    "boarding": [
        "they made me gate check my carry-on",
        "now boarding group B",
        "standing on the jet bridge for 20 minutes",
        "no room in the overhead bins",
        "Denied boarding though I had a seat",
        "boarding process is a mess",
        "stuck in the jetway",
        "group 5 and no bin space left, carry on taken away",
        "boarding has stopped",
        "agent would not let me on",
    ],
    "in-flight": [
        "wifi is down on this flight",
        "the flight attendant spilled coffee on me",
        "my seat does not recline and the guy in front reclined fully",
        "two hours on the tarmac with no water",
        "turbulence was scary but the pilot was great",
        "the screen at my seat is broken",
        "live from 36000 feet with wifi!",
        "movies keep freezing",
        "captain says another hour on the runway",
    ],
    "arrival": [
        "just landed in Phoenix, an hour early!",
        "we landed but there is no gate for us",
        "made it home finally",
        "arrived two hours late in Boston",
        "waiting to deplane for 40 minutes",
        "touched down safely",
        "landed 30 minutes early",
        "customs took forever",
        "waiting for a gate after touching down",
        "we arrived safe and sound",
    ],
    "baggage": [
        "my suitcase came out broken",
        "bag never showed up on the carousel",
        "lost luggage again",
        "where is my bag? It went to Dallas",
        "baggage claim at LAX is chaos",
        "they left my stroller in Denver",
        "my luggage is in another country",
        "carousel stopped, no bags",
        "damaged suitcase, who pays?",
        "two days without our bags",
    ],
    "after": [
        "still waiting for my refund since March",
        "filed a complaint three weeks ago and no answer",
        "where do I send receipts for reimbursement?",
        "my miles from last week's flight have not posted",
        "you owe me a voucher for that delay",
        "customer relations never replied",
        "sent a complaint, case number 4711",
        "where is my voucher",
        "need a receipt for my trip last month",
    ],
}
NOWHERE = ["@SouthwestAir hello", "I love you guys", "best airline ever", "happy birthday to your ceo", ""]


@pytest.mark.parametrize("stage", SENTENCES)
def test_each_stage_is_told_from_the_others(stage: str) -> None:
    told = {text: judged(text).journey for text in SENTENCES[stage]}
    assert told == dict.fromkeys(SENTENCES[stage], stage)


@pytest.mark.parametrize("text", NOWHERE)
def test_nobody_is_put_on_a_journey_who_speaks_of_none(text: str) -> None:
    assert judged(text).journey is None


def test_the_stage_with_the_most_weight_wins_and_the_later_one_of_two_alike() -> None:
    assert judged("@SouthwestAir bought a ticket, had a fare question, now a refund").journey == "book"
    assert judged("@SouthwestAir ticket refund").journey == "after"


def test_the_stages_of_trends_are_those_of_the_shipped_lists_in_their_order() -> None:
    stages = tuple(signal.name for signal in load(SHIPPED).signals.journey)
    assert stages == STAGES == tuple(SENTENCES)
