package paywall

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/cache"
	"github.com/caddy-axra/paywall/ledger"
)

// slots is the durable count of what a purchase has had.
type slots interface {
	Take(ctx context.Context, kind ledger.Kind, session string, limit int, holder string, at time.Time) (int, error)
	Taken(ctx context.Context, kind ledger.Kind, session string, limit int) (int, error)
}

// fetches is what this node remembers about the fetches of one purchase. It tells
// a new fetch from one that goes on: the count alone is durable.
type fetches struct {
	mu      sync.Mutex // held while storage is asked, never while a body is sent
	loaded  bool       // the count is that of storage
	count   int
	unsized int   // fetches whose bytes are not in used yet: a size was not known
	used    int64 // bytes sent or about to be sent
	resumed int   // ranges that were let go on beyond the bytes there are
}

// maxFetches bounds how many purchases are remembered.
const maxFetches = 10_000

func newFetches() cache.Cache[*fetches] {
	return cache.New[*fetches](maxFetches)
}

// Bounds of what is taken for one download that goes on.
const (
	slack        = 16 // a player's probes may add a sixteenth to a whole download
	resumptions  = 4  // ranges for each fetch, beyond the bytes that it is worth
	slotsTimeout = 5 * time.Second
)

// meter lets through as many fetches as a purchase is worth. It decides when the
// header is written, since only that says whether content follows, and how much.
type meter struct {
	*caddyhttp.ResponseWriterWrapper
	refused bool // nothing was written: show a page, after restore
	// complain keeps what could be written for every request to once in a while,
	// as rate.Sometimes.Do does.
	complain func(func())

	r       *http.Request
	known   cache.Cache[*fetches]
	slots   slots
	logger  *zap.Logger
	session string
	limit   int
	at      func() time.Time

	before   http.Header // as the handlers behind found it
	decided  bool
	granted  *fetches // where bytes are reserved
	reserved int64
	sent     int64
}

func newMeter(w http.ResponseWriter, r *http.Request, known cache.Cache[*fetches], slots slots, logger *zap.Logger, session string, limit int, at func() time.Time) *meter {
	return &meter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		complain:              func(write func()) { write() },
		r:                     r, known: known, slots: slots, logger: logger, session: session, limit: limit, at: at,
		before: w.Header().Clone(),
	}
}

// serve runs the handler behind.
func (m *meter) serve(next caddyhttp.Handler, r *http.Request) error {
	defer m.finish()
	return unlessRefused(func() bool { return m.refused }, func() error { return next.ServeHTTP(m, r) })
}

// restore takes back the header of an answer that was refused.
func (m *meter) restore() { restoreHeader(m.Header(), m.before.Clone()) }

// finish gives back what was reserved and not sent, for the download to be
// resumed.
func (m *meter) finish() {
	if m.granted == nil {
		return
	}
	m.granted.mu.Lock()
	defer m.granted.mu.Unlock()
	m.granted.used -= max(0, m.reserved-m.sent)
	m.granted = nil
}

// WriteHeader decides, and lets the header through or keeps it.
func (m *meter) WriteHeader(status int) {
	if m.refused {
		return
	}
	// Informational responses precede the final one; 101 is final.
	if !m.decided && (status >= 200 || status == http.StatusSwitchingProtocols) {
		m.decided = true
		if m.refused = !m.admits(status); m.refused {
			return
		}
	}
	m.ResponseWriterWrapper.WriteHeader(status)
}

// Write fails after a refusal, so that copying stops.
func (m *meter) Write(p []byte) (int, error) {
	if m.begin(); m.refused {
		return 0, errRefused
	}
	n, err := m.ResponseWriterWrapper.Write(p)
	m.sent += int64(n)
	return n, err
}

// ReadFrom keeps the fast path from file to socket.
func (m *meter) ReadFrom(from io.Reader) (int64, error) {
	if m.begin(); m.refused {
		return 0, errRefused
	}
	n, err := m.ResponseWriterWrapper.ReadFrom(from)
	m.sent += n
	return n, err
}

// FlushError decides before the header leaves.
func (m *meter) FlushError() error {
	if m.begin(); m.refused {
		return errRefused
	}
	return http.NewResponseController(m.ResponseWriterWrapper).Flush()
}

// Unwrap serves http.ResponseController.
func (m *meter) Unwrap() http.ResponseWriter { return m.ResponseWriterWrapper }

func (m *meter) begin() {
	if !m.decided {
		m.WriteHeader(http.StatusOK)
	}
}

// admits decides about an answer and reserves its bytes.
func (m *meter) admits(status int) bool {
	answer, counts := readPart(status, m.Header())
	if !counts || m.r.Method == http.MethodHead {
		return true
	}
	f, _ := m.known.SetIfAbsent(m.session, new(fetches))
	f.mu.Lock()
	defer f.mu.Unlock()
	m.load(f)
	f.size(answer.total)
	if (answer.whole || !f.continues(answer)) && !m.take(f) {
		return false
	}
	if answer.total == 0 {
		f.unsized++
		return true
	}
	f.used += answer.length
	m.granted, m.reserved = f, answer.length
	return true
}

// load asks storage for the count once; for what was fetched before, or on another
// node, as many whole downloads count as sent.
func (m *meter) load(f *fetches) {
	if f.loaded {
		return
	}
	ctx, cancel := m.context()
	defer cancel()
	count, err := m.slots.Taken(ctx, ledger.Fetch, m.session, m.limit)
	if err != nil {
		m.report(err)
		return
	}
	f.loaded = true
	f.raise(count)
}

// take begins a new fetch, if there is one left. A visitor who is known to have paid
// does not pay for a storage in trouble: it is then counted in memory only.
func (m *meter) take(f *fetches) bool {
	if f.count >= m.limit {
		return false
	}
	if !f.loaded { // storage has just failed; the visitor has waited enough
		f.count++
		return true
	}
	ctx, cancel := m.context()
	defer cancel()
	count, err := m.slots.Take(ctx, ledger.Fetch, m.session, m.limit, rand.Text(), m.at())
	switch {
	case errors.Is(err, ledger.ErrNoneLeft):
		f.raise(m.limit)
		return false
	case err != nil:
		m.report(err)
	default:
		f.raise(count - 1) // other nodes have had theirs
	}
	f.count++
	return true
}

// context does not end with the request: a fetch that was begun is counted.
func (m *meter) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(m.r.Context()), slotsTimeout)
}

func (m *meter) report(err error) {
	m.complain(func() {
		m.logger.Error("downloads cannot be counted in storage; they are counted in memory meanwhile",
			zap.Error(err), zap.String("session", shorten(m.session)))
	})
}

// raise learns of fetches that this node has not seen.
func (f *fetches) raise(count int) {
	if count > f.count {
		f.unsized += count - f.count
		f.count = count
	}
}

// size counts what was fetched whole before the size was known.
func (f *fetches) size(total int64) {
	if total > 0 && f.unsized > 0 {
		f.used += times(f.unsized, total)
		f.unsized = 0
	}
}

// continues reports whether a range belongs to a fetch that has begun. One from
// the start goes on only within the bytes of the fetches counted; one from further
// on is more likely to be a resumption, and what was lost on its way was counted.
func (f *fetches) continues(p part) bool {
	switch {
	case f.count == 0:
		return false
	case p.start == 0:
		return f.used+p.length <= times(f.count, p.total)+p.total/slack
	case f.used+p.length <= times(f.count+1, p.total):
		return true
	case f.resumed < resumptions*f.count:
		f.resumed++
		return true
	}
	return false
}

// times does not overflow, even with a few of its results added.
func times(n int, size int64) int64 {
	if int64(n) > maxTotal/size {
		return maxTotal
	}
	return int64(n) * size
}

// maxTotal is a size beyond which a total is none.
const maxTotal = math.MaxInt64 / 8

// part is what an answer carries of the content. Without a total it is unknown.
type part struct {
	whole                bool // no part that could belong to another
	start, length, total int64
}

// readPart reads the header of an answer, and reports whether it may be a fetch.
func readPart(status int, header http.Header) (p part, counts bool) {
	switch status {
	case http.StatusOK:
		size, err := parseSize(header.Get("Content-Length"))
		if err != nil {
			return part{whole: true}, true
		}
		return part{whole: true, length: size, total: size}, size > 0
	case http.StatusPartialContent:
		ranges := header["Content-Range"]
		if len(ranges) != 1 { // multipart/byteranges, or nonsense
			return part{whole: true}, true
		}
		return parseRange(ranges[0]), true
	}
	return part{}, false
}

// parseRange reads a Content-Range (RFC 9110, section 14.4).
func parseRange(value string) part {
	span, size, _ := strings.Cut(strings.TrimPrefix(value, "bytes "), "/")
	first, last, _ := strings.Cut(span, "-")
	start, startErr := parseSize(first)
	end, endErr := parseSize(last)
	total, totalErr := parseSize(size)
	if errors.Join(startErr, endErr, totalErr) != nil || start > end || end >= total {
		return part{whole: true}
	}
	return part{start: start, length: end - start + 1, total: total}
}

func parseSize(digits string) (int64, error) {
	size, err := strconv.ParseUint(digits, 10, 63)
	if err == nil && size > maxTotal {
		err = strconv.ErrRange
	}
	return int64(size), err
}

// Interface guards
var (
	_ slots               = (*ledger.Ledger)(nil)
	_ http.ResponseWriter = (*meter)(nil)
	_ io.ReaderFrom       = (*meter)(nil)
)
