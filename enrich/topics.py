"""topics draft"""
from collections.abc import Sequence
from enrich.phrasebook import TOPICS, Phrasebook, load
from enrich.cues import longest
from hark.core.mention import Topic
class Topics:
    name="topics"
    def __init__(self, book):
        self.book=book; self.version='x'; self._cues=book.cues; self._phrases=book.topic_phrases; self._ids=[n.id for n in book.taxonomy.topic]
        self._pairs=book.topic_pairs
    def enrich(self, drafts):
        for d in drafts:
            cues=self._cues.scan(d)[TOPICS]
            if not cues: d.topics=(); continue
            scores={}
            seen=set(); pair={}
            bynode={}
            for c in cues:
                ph=self._phrases[c[0]]
                if ph[1] and ph[1]!=d.language.code: continue
                if ph[4]: pair.setdefault(ph[4],[[],[]])[ph[5]].append(c)
                else: bynode.setdefault(ph[0],[]).append(c)
            for n,cs in bynode.items():
                ws=[]
                for c in longest(cs):
                    if c[0] in seen: continue
                    seen.add(c[0]); ws.append(self._phrases[c[0]][2])
                ws.sort(reverse=True); scores[n]=sum(w*D**i for i,w in enumerate(ws))
            for k,(A,B) in pair.items():
                node,within,weight=self._pairs[k-1]
                if any(abs(a[1]-b[1])<=within and not(a[1]<=b[1]<=a[2] and False) for a in A for b in B):
                    scores[node]=scores.get(node,0)+weight
            out=sorted(((s,n) for n,s in scores.items() if s>=MIN),reverse=True)
            d.topics=tuple(Topic(self._ids[n],round(s/(s+1.5),3)) for s,n in out)
MIN=1; D=.8
def build(c): return Topics(load(c.config))
