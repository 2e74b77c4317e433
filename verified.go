package paywall

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/caddy-axra/paywall/cache"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// shared is what outlives a reload: the keys, the memory of verified tokens and
// of checkouts under way, the webhooks refused last. It holds no storage, which may change with a reload.
type shared struct {
	ring     *token.Keyring // the stored keys; App.keyring has the configuration's own, too
	verified cache.Cache[*verified]
	recent   recent
	progress cache.Cache[*progress]
	fetches  cache.Cache[*fetches]
	used     cache.Cache[*struct{}] // sessions whose first use has been counted
	refused  refusals
	heard    heard
	failing  trouble // about any token, until a session can be read
	// keeping is held by a sweep or an import: what closes a purchase is imported before
	// the purchase, and a sweep would take it for something that belongs to none.
	keeping sync.Mutex
}

// Bounds of the memory. Ten times as many tokens are known as are kept as a whole.
const (
	maxVerified      = 12 * maxRecent
	maxVerifiedBytes = 144 << 20
	verifiedOverhead = 700 // bytes that an entry takes beside its ids
	maxRecent        = 1 << 14
	maxRecentSize    = 800 // bytes of a token; longer ones are known by their digest alone
	maxProgress      = 10_000
	progressLife     = 24 * time.Hour
)

func newShared() *shared {
	return &shared{
		ring: token.NewKeyring(now),
		verified: cache.Weighted(maxVerifiedBytes, func(entry *verified) uint32 {
			weight := verifiedOverhead + len(entry.Session) + len(entry.Payment) + len(entry.Pass) + len(entry.Resource) + len(entry.link)
			return uint32(max(weight, maxVerifiedBytes/maxVerified)) //nolint:gosec // at most token.MaxSize and the overhead
		}),
		fetches:  newFetches(),
		used:     cache.New[*struct{}](maxProgress),
		progress: cache.Expiring[*progress](maxProgress, progressLife),
	}
}

// Destruct ends the caches' background work.
func (s *shared) Destruct() error {
	s.verified.StopAllGoroutines()
	s.progress.StopAllGoroutines()
	s.fetches.StopAllGoroutines()
	s.used.StopAllGoroutines()
	return nil
}

// progress is what Axra last said about a session that is not paid.
type progress struct {
	stage stage
	at    time.Time // as Axra states it
}

type stage string

const (
	failed     stage = "failed"
	processing stage = "processing"
)

// verified is an access token, or the token of a private address, whose signature
// was checked, with what the ledger last said about its payment.
type verified struct {
	token.Access
	link   string            // the one address that it opens; empty for an access token
	place  place             // among those of the purchase, if it has one
	digest [sha256.Size]byte // of the token
	shards [2]ledger.Shard   // of the session and of the payment

	seenAt   atomic.Int64                     // when it last came by without being kept; Unix nanoseconds
	accepted atomic.Pointer[token.Generation] // in which the token's key was known

	standing    atomic.Pointer[standing] // what the ledger last said; nil: nothing yet
	tried       spacing                  // of attempts in the background
	failing     trouble                  // about this token
	claimClosed atomic.Bool
	learning    sync.Mutex // held while an answer is written, never by a request
	learnt      int64      // number of the last reading, also of one that failed
}

// standing is what the ledger said about a token. It is never changed, only replaced.
type standing struct {
	asked      int64       // when; Unix nanoseconds
	number     int64       // of that reading
	outcomes   int64       // heard.outcomes at that time
	untroubled bool        // nothing but news of the token's shards can change the answer
	closedFor  ledger.Kind // empty: the payment stands
	downloads  int         // how often the purchase may be fetched; 0: without a bound
	until      time.Time   // end of access; zero: never
}

// recent keeps the tokens that came by more than once lately, to compare others with: a
// digest would take longer than all the rest. Each has a few places to be in, by the end of
// its signature, from which others push it out.
type recent struct {
	places [maxRecent / ways][ways]atomic.Pointer[kept]
	pushed atomic.Uint32 // how often one was pushed out
}

const ways = 4

// kept is a token as a whole.
type kept struct {
	raw string
	*verified
}

var recentSeed = maphash.MakeSeed()

func (r *recent) placesOf(raw string) *[ways]atomic.Pointer[kept] {
	return &r.places[maphash.String(recentSeed, raw[max(0, len(raw)-16):])%(maxRecent/ways)]
}

// find returns what is known about a token that is kept, or nil.
func (r *recent) find(raw string) *verified {
	places := r.placesOf(raw)
	for i := range places {
		if found := places[i].Load(); found != nil && found.raw == raw {
			return found.verified
		}
	}
	return nil
}

// keep puts a token where there is room.
func (r *recent) keep(v *verified, raw string) {
	places, whole := r.placesOf(raw), &kept{strings.Clone(raw), v} // a header holds more than the token
	for i := range places {
		if places[i].CompareAndSwap(nil, whole) {
			return
		}
	}
	places[r.pushed.Add(1)%ways].Store(whole)
}

// inARow is within which time a token has to come by again to be kept: that of a page and
// what it is made of.
const inARow = 2 * time.Second

// meet notes that a token came by that is known by its digest.
func (r *recent) meet(v *verified, raw string, at time.Time) {
	since := at.UnixNano() - v.seenAt.Swap(at.UnixNano())
	if since < 0 || since > int64(inARow) || len(raw) > maxRecentSize {
		return
	}
	r.keep(v, raw)
}

// end is when access ends; zero: never. The purchase may have been extended since the
// token was signed, or an extension refunded.
func (v *verified) end() time.Time {
	if said := v.standing.Load(); said != nil {
		return said.until
	}
	return v.Until
}

// downloads is how often the purchase may be fetched; 0: without a bound.
func (v *verified) downloads() int {
	if said := v.standing.Load(); said != nil {
		return said.downloads
	}
	return v.Downloads
}

// closedFor is why the payment does not stand any more; empty: it does, as far as is known.
func (v *verified) closedFor() ledger.Kind {
	if said := v.standing.Load(); said != nil {
		return said.closedFor
	}
	return ""
}

// outlasts reports whether the token is better kept than replaced by another purchase
// of the same.
func (v *verified) outlasts(other token.Access) bool {
	if v.Session == other.Session || v.Resource != other.Resource || v.downloads() > 0 {
		return false
	}
	end := v.end()
	return !other.Until.IsZero() && (end.IsZero() || end.After(other.Until))
}

// endsEarly reports whether a token ends before its access does.
func (v *verified) endsEarly() bool {
	end := v.end()
	return end.IsZero() || v.Expires.Before(end)
}

// renewal is the token in place of one that ends before its access does.
func (v *verified) renewal(at time.Time) (token.Access, bool) {
	access, end := v.Access, v.end().Truncate(time.Second) // a token knows whole seconds
	if !access.Until.IsZero() && (end.IsZero() || end.After(access.Until)) {
		access.Until = end
		return access, true
	}
	return access, v.Stale(at)
}

// verdict is what is known about a token.
type verdict int

const (
	none    verdict = iota // no valid token
	open                   // opens the gate
	closed                 // was valid, but the payment was refunded or is in dispute
	unknown                // cannot be told, and has not been for longer than the grace
)

// retryCheck spaces attempts while the ledger cannot be read.
const retryCheck = 3 * time.Second

// verify returns the token's entry, checking the signature of each token only once while
// it is remembered. With token.ErrLapsed it returns the entry of a token that has ended
// with its access, and may ask for another.
func (a *App) verify(raw string, site site, at time.Time) (*verified, error) {
	if len(raw) > token.MaxSize {
		return nil, token.ErrInvalid
	}
	if known := a.remembered(raw, at); known != nil {
		switch {
		case known.Site != site.origin || known.link != "":
			return nil, token.ErrInvalid
		case at.Before(known.Expires):
			return known, nil
		case known.HasLapsed(at):
			return known, token.ErrLapsed
		}
		return nil, token.ErrInvalid
	}
	access, err := a.keyring.VerifyAccess(raw, site.origin)
	if err != nil && !errors.Is(err, token.ErrLapsed) {
		return nil, err
	}
	place, malformed := parsePlace(access.Device)
	if malformed != nil {
		return nil, malformed
	}
	return a.remember(raw, &verified{Access: access, place: place}), err
}

// remembered is what has been verified before, as long as this configuration accepts the
// key that has signed it.
func (a *App) remembered(raw string, at time.Time) *verified {
	known := a.shared.recent.find(raw)
	if known == nil {
		found, ok := a.shared.verified.GetIfPresent(lastOf(raw))
		if !ok || found.digest != digestOf(raw) {
			return nil
		}
		known = found
		a.shared.recent.meet(known, raw, at)
	}
	if !a.accepts(known) {
		return nil
	}
	return known
}

// digestOf names a token; nobody can make another one of the same.
func digestOf(raw string) [sha256.Size]byte {
	var buffer [1024]byte // most tokens fit, and need no memory for it
	return sha256.Sum256(append(buffer[:0], raw...))
}

// lastOf is enough of a token to find it by: the end of its signature.
func lastOf(raw string) string { return raw[max(0, len(raw)-43):] }

// accepts reports whether this configuration accepts the key of an entry, and asks again
// only when the keys have changed.
func (a *App) accepts(entry *verified) bool {
	current := a.keyring.Generation()
	if entry.accepted.Load() == current {
		return true
	}
	if !a.keyring.Knows(entry.Key) {
		return false
	}
	entry.accepted.Store(current)
	return true
}

// remember keeps what has been verified.
func (a *App) remember(raw string, entry *verified) *verified {
	entry.digest = digestOf(raw)
	entry.shards = [2]ledger.Shard{ledger.ShardOf(entry.Session), ledger.ShardOf(entry.Payment)}
	entry.Pass, entry.Resource = unique.Make(entry.Pass).Value(), unique.Make(entry.Resource).Value() // most have the same
	if known, _ := a.shared.verified.SetIfAbsent(strings.Clone(lastOf(raw)), entry); known.digest == entry.digest {
		return known
	}
	return entry
}

// judge says whether the token still opens its resource.
func (a *App) judge(ctx context.Context, v *verified, at time.Time) verdict {
	if !at.Before(v.Expires) {
		return none
	}
	if known, vouched := a.knowsOrAsks(v, at); !known {
		if a.await(ctx, v, vouched); ctx.Err() != nil {
			return unknown // who hangs up may still read what is answered
		}
		at = now()
	}
	if end := v.end(); !end.IsZero() && !at.Before(end) {
		return none
	}
	verdict := v.verdict(at, time.Duration(a.Grace))
	if verdict == open && v.failing.lasts() {
		graceVerdicts.Inc()
	}
	return verdict
}

// knowsOrAsks reports whether what is known about a token is recent enough to answer by. The
// ledger is asked in the background once half of Recheck has passed, so that a visitor who
// keeps reading never waits for it. vouched says whether news will do where it is not.
func (a *App) knowsOrAsks(v *verified, at time.Time) (known, vouched bool) {
	recheck := int64(a.Recheck)
	asOf, vouched := a.confirmed(v, at)
	age := at.UnixNano() - asOf
	more := a.shared.heard.more(v)
	// The ledger may have answered since the request came; a clock may also have been set back.
	fresh := age >= -recheck && age <= recheck && !more
	switch {
	case fresh && vouched:
		a.news.renew(v, at)
		if a.news.isDue(v, at) && v.tried.mayTry(at) {
			a.recheck(v)
		}
	case fresh && age <= recheck/2:
	case fresh, !more && v.failing.lasts() && v.verdict(at, time.Duration(a.Grace)) == open:
		if v.tried.mayTry(at) {
			a.recheck(v)
		}
	default:
		return false, vouched
	}
	return true, vouched
}

// confirmed is the time as of which it is known that a token's payment stands, in Unix
// nanoseconds: by news, if vouched, else by the last answer of the ledger. Without news that
// holds for the time of Recheck, with them as long as there are none.
func (a *App) confirmed(v *verified, at time.Time) (asOf int64, vouched bool) {
	if said := v.standing.Load(); said != nil {
		asOf = said.asked
	}
	age := at.UnixNano() - asOf
	if age <= int64(a.Recheck)/2 || v.failing.lasts() {
		return asOf, false
	}
	news, ok := a.news.vouchFor(v, at)
	switch {
	case !ok:
		return asOf, false
	case news <= asOf && age <= int64(a.Recheck): // the ledger has answered since, and lately
		a.news.renew(v, at)
		return asOf, false
	}
	return news, true
}

// trouble is since when the ledger cannot be read, in Unix nanoseconds; 0: it can.
type trouble struct{ since atomic.Int64 }

// begin returns since when there is trouble: the time, if there was none. One that is yet
// to come is none, since the clock was set back.
func (t *trouble) begin(at time.Time) time.Time {
	known := t.since.Load()
	if known != 0 && known <= now().UnixNano() {
		return time.Unix(0, known)
	}
	t.since.CompareAndSwap(known, at.UnixNano())
	return at
}

func (t *trouble) end() { t.since.Store(0) }

func (t *trouble) lasts() bool { return t.since.Load() != 0 }

// fail notes that the ledger could not be read. A token about which it has never answered
// has no grace of its own, but what is left of that of the whole trouble: tokens are forgotten
// and read again.
func (a *App) fail(v *verified, at time.Time) {
	began := a.shared.failing.begin(at)
	if v.standing.Load() != nil {
		began = at
	}
	v.failing.begin(began)
}

// spacing lets one caller through per retryCheck.
type spacing struct{ last atomic.Int64 }

func (s *spacing) mayTry(at time.Time) bool {
	last := s.last.Load()
	since := at.UnixNano() - last
	return (since >= int64(retryCheck) || since < 0) && s.last.CompareAndSwap(last, at.UnixNano()) // the clock may have been set back
}

func (v *verified) verdict(at time.Time, grace time.Duration) verdict {
	since := v.failing.since.Load() // before what ends it, which would look like no answer at all
	said := v.standing.Load()
	if said != nil && said.closedFor != "" {
		return closed
	}
	switch {
	case since == 0 && said == nil: // the visitor left before the ledger had answered
		return unknown
	case since != 0 && at.UnixNano()-since > int64(grace):
		return unknown
	case since != 0 && said == nil && v.link != "": // a private address outlives its access; only the ledger knows
		return unknown
	}
	return open
}

// maxRecheckWait is how long one request waits for the ledger; a ledger that is
// slower counts as one that cannot be read.
const maxRecheckWait = 2 * time.Second

// await waits for news, where these can vouch for the token, else for the ledger.
func (a *App) await(ctx context.Context, v *verified, vouched bool) {
	timer := time.NewTimer(maxRecheckWait)
	defer timer.Stop()
	if vouched && !a.shared.heard.more(v) {
		select {
		case <-a.news.ask(v, now()):
			at := now()
			if asOf, ok := a.news.vouchFor(v, at); ok && at.UnixNano()-asOf <= int64(a.Recheck) {
				return
			}
		case <-ctx.Done():
			return
		case <-timer.C:
			a.fail(v, now())
			return
		}
	}
	select {
	case <-a.recheck(v):
	case <-ctx.Done():
	case <-timer.C:
		a.fail(v, now())
	}
}

// recheck asks the ledger, once for all requests with the token and once for all tokens
// of the session, and does not end with the request that began it.
func (a *App) recheck(v *verified) <-chan singleflight.Result {
	a.news.begin(v)
	return a.rechecks.DoChan(string(v.digest[:])+a.shared.heard.edition(v.Session), func() (any, error) {
		landed := <-a.grants.ask(v.Session)
		said, _ := landed.Val.(reading)
		err := landed.Err
		if err == nil {
			said.grant, err = safely(func() (ledger.Grant, error) { return a.inItsPlace(v, said.grant) })
		}
		a.learn(v, said, err)
		return nil, nil
	})
}

// inItsPlace is the grant as it holds for the token, which may have lost its place.
func (a *App) inItsPlace(v *verified, grant ledger.Grant) (ledger.Grant, error) {
	var err error
	if grant.ClosedFor == "" && v.place.kind != "" {
		grant.ClosedFor, err = a.checkPlace(context.Background(), v)
	}
	if err == nil && grant.Terms.Claim {
		a.closeClaim(context.Background(), v)
	}
	return grant, err
}

// checkPlace closes what has lost its place to another device.
func (a *App) checkPlace(ctx context.Context, v *verified) (closedFor ledger.Kind, err error) {
	holds, err := a.ledger.Holds(ctx, v.place.kind, v.Session, v.place.slot, v.place.holder)
	if err != nil || holds {
		return "", err
	}
	return v.place.kind, nil
}

// closeClaim makes sure that nobody claims what the browser that started the checkout
// uses: storage may have been in trouble when that came back.
func (a *App) closeClaim(ctx context.Context, v *verified) {
	if v.claimClosed.Load() {
		return
	}
	_, err := a.ledger.Take(ctx, ledger.Claimed, v.Session, 1, originHolder, now())
	if err == nil || errors.Is(err, ledger.ErrNoneLeft) {
		v.claimClosed.Store(true)
	}
}

// learn keeps what the ledger said. One that cannot tell changes nothing, but for
// the time of grace.
func (a *App) learn(v *verified, said reading, err error) {
	v.learning.Lock()
	defer v.learning.Unlock()
	if said.number < v.learnt {
		return // what was read later has come first
	}
	v.learnt = said.number
	if err != nil {
		if errors.Is(err, ledger.ErrNotPaid) && v.standing.Load() == nil {
			// The signature says paid, the ledger has never heard of it: a replica that
			// lags, or a storage that is not the one it was. Without any answer that
			// said "paid" there is no grace.
			v.failing.since.Store(now().Add(-time.Duration(a.Grace) - time.Second).UnixNano())
		} else {
			a.fail(v, now())
		}
		a.complain(a.logger, "the ledger cannot tell whether a visitor has paid; those known to have are served for the time of grace",
			zap.String("session", shorten(v.Session)), zap.Duration("grace", time.Duration(a.Grace)), zap.Error(err))
		return
	}
	grant := &said.grant
	confirmed, vouched := a.news.vouchFor(v, now())
	previous := v.standing.Swap(&standing{
		asked: said.asked.UnixNano(), number: said.number, outcomes: said.outcomes,
		untroubled: grant.Untroubled && grant.Session == v.Session && grant.Payment == v.Payment && // whose news are read
			v.place.kind == "" && (!grant.Terms.Claim || v.claimClosed.Load()),
		closedFor: grant.ClosedFor, downloads: grant.Terms.Downloads, until: grant.Until,
	})
	failed := v.failing.lasts()
	v.failing.end()
	if previous == nil {
		return
	}
	if !vouched || failed || confirmed < previous.asked { // by which the visitor was let in
		confirmed = previous.asked
	}
	countRecheck(time.Unix(0, confirmed), now())
}
