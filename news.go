package paywall

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-axra/paywall/ledger"
)

// news spares most visitors their rechecks: one reading tells about all purchases of a
// shard whether anything but payments was stored about them since (ledger.Ledger.News).
// It belongs to one configuration, since a reload may bring another storage.
type news struct {
	ledger  *ledger.Ledger
	heard   *heard
	recheck time.Duration
	flights singleflight.Group
	shards  [ledger.Shards]shardNews
}

// shardNews is what is known of one shard's news.
type shardNews struct {
	said  atomic.Pointer[saying] // nil: never read
	tried spacing                // of attempts in the background
}

// saying is what the news say. Times are Unix nanoseconds.
type saying struct {
	text  string
	since int64 // when that was first known
	after int64 // number of the last reading of the ledger that had begun by then
	asOf  int64 // when the last reading of the news began that said so
}

// How long news may vouch for one answer of the ledger, in times of Recheck: it is asked
// again in the background after some time, which differs so that not all are due at once, and
// no later than that. What news do not tell, such as records that somebody removed by
// hand, is noticed then.
const (
	vouchAtLeast = 15
	vouchSpread  = 11
	vouchAtMost  = 30
)

// vouchFor is the time as of which the ledger's last answer about a token still holds, by
// what the news say: Unix nanoseconds. ok is false where they do not tell.
func (n *news) vouchFor(v *verified, at time.Time) (asOf int64, ok bool) {
	last := v.standing.Load()
	if last == nil || !last.untroubled {
		return 0, false
	}
	if age := time.Duration(at.UnixNano() - last.asked); age < -n.recheck || age > vouchAtMost*n.recheck {
		return 0, false
	}
	asOf = math.MaxInt64
	for _, shard := range v.shards {
		said := n.shards[shard].said.Load()
		// An eventually consistent storage may show news before what they are about, for a
		// while. A clock may be set back, a number cannot.
		if said == nil || last.number <= said.after || last.asked < said.since+int64(n.recheck) {
			return 0, false
		}
		asOf = min(asOf, said.asOf)
	}
	return asOf, true
}

// isDue reports whether the ledger should be asked again in spite of all news.
func (n *news) isDue(v *verified, at time.Time) bool {
	said := v.standing.Load()
	return said != nil && at.UnixNano()-said.asked > int64(vouchAtLeast+v.digest[0]%vouchSpread)*int64(n.recheck)
}

// begin has the news of a token read that were never read.
func (n *news) begin(v *verified) {
	for _, shard := range v.shards {
		if n.shards[shard].said.Load() == nil && n.shards[shard].tried.mayTry(now()) {
			n.read(shard)
		}
	}
}

// renew has those read again in the background that are due.
func (n *news) renew(v *verified, at time.Time) {
	for _, shard := range v.shards {
		if n.isStale(shard, at) && n.shards[shard].tried.mayTry(at) {
			n.read(shard)
		}
	}
}

// isStale reports whether the news of a shard are older than half of Recheck.
func (n *news) isStale(shard ledger.Shard, at time.Time) bool {
	said := n.shards[shard].said.Load()
	age := time.Duration(math.MaxInt64)
	if said != nil {
		age = time.Duration(at.UnixNano() - said.asOf)
	}
	return age < -n.recheck || age > n.recheck/2
}

// ask has those read again that are due, and closes the channel when they are.
func (n *news) ask(v *verified, at time.Time) <-chan struct{} {
	var flights []<-chan singleflight.Result
	for _, shard := range v.shards {
		if n.isStale(shard, at) {
			flights = append(flights, n.read(shard))
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, flight := range flights {
			<-flight
		}
	}()
	return done
}

// read reads the news of a shard, once for all who ask at the same time.
func (n *news) read(shard ledger.Shard) <-chan singleflight.Result {
	return n.flights.DoChan(strconv.Itoa(int(shard)), func() (any, error) {
		began := now()
		text, err := n.load(shard)
		if err != nil {
			countNews(newsFailed)
			return nil, err
		}
		said := saying{text: text, since: now().UnixNano(), after: n.heard.readings.Load(), asOf: began.UnixNano()}
		switch known := n.shards[shard].said.Load(); {
		case known == nil:
			countNews(newsFirst)
		case known.text != text:
			countNews(newsChanged)
		default:
			countNews(newsUnchanged)
			said.since, said.after = known.since, known.after
		}
		n.shards[shard].said.Store(&said)
		return nil, nil
	})
}

// load makes an error of a panic, for which singleflight would end the process.
func (n *news) load(shard ledger.Shard) (text string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading the news panicked: %v", p)
		}
	}()
	return n.ledger.News(context.Background(), shard)
}
