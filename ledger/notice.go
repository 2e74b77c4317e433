package ledger

import "time"

// noticeEvery is how often a message is logged at most. A database may come and go every second.
const noticeEvery = time.Minute

// trouble is what is known about a database, or about writing to it.
type trouble int

const (
	noTrouble trouble = iota
	inTrouble
	isForeign // it is another installation's
)

// notice logs trouble and its end. What it could not say within the minute, it says when it is asked later, if it
// still holds: the last line is about the present.
type notice struct {
	began, ended string // messages
	said         trouble
	at           [isForeign + 1]time.Time // when each was said last
}

func (n *notice) tell(o Options, now trouble, err error) {
	at := o.Now()
	if now == n.said || now == inTrouble && n.said == isForeign || at.Sub(n.at[now]) < noticeEvery && !n.at[now].IsZero() {
		return
	}
	n.said, n.at[now] = now, at
	if now == noTrouble {
		o.Logger.Info(n.ended, "database", o.location())
		return
	}
	o.Logger.Error(n.began, "database", o.location(), "error", err)
}
