package paywall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/cache"

	"github.com/caddy-axra/paywall/ledger"
)

// shelf is storage that counts.
type shelf struct {
	mu      sync.Mutex
	failing bool
	taken   map[string]int
	holders map[string]bool
	asked   int
}

var errShelf = errors.New("the shelf fell down")

func newShelf() *shelf { return &shelf{taken: map[string]int{}, holders: map[string]bool{}} }

func (s *shelf) Take(ctx context.Context, kind ledger.Kind, session string, limit int, holder string, _ time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	switch deadline, ok := ctx.Deadline(); {
	case ctx.Err() != nil, !ok, time.Until(deadline) > slotsTimeout:
		return 0, fmt.Errorf("a context that ends with the request, or never: %w", ctx.Err())
	case kind != ledger.Fetch, len(holder) < 16, s.holders[holder]:
		return 0, errors.New("wrong kind or holder")
	case s.failing:
		return 0, errShelf
	case s.taken[session] >= limit:
		return s.taken[session], ledger.ErrNoneLeft
	}
	s.holders[holder] = true
	s.taken[session]++
	return s.taken[session], nil
}

func (s *shelf) Taken(_ context.Context, _ ledger.Kind, session string, _ int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.failing {
		return 0, errShelf
	}
	return s.taken[session], nil
}

// node has a memory of its own.
type node struct {
	*shelf
	known    cache.Cache[*fetches]
	limit    int
	reported atomic.Int64
}

func newNode(on *shelf, limit int) *node { return &node{shelf: on, known: newFetches(), limit: limit} }

func (n *node) meter(w http.ResponseWriter, r *http.Request) *meter {
	m := newMeter(w, r, n.known, n.shelf, zap.NewNop(), "cs_1", n.limit, time.Now)
	m.complain = func(write func()) { n.reported.Add(1); write() }
	return m
}

// answer is what a handler behind answers.
type answer struct {
	method string // GET
	status int
	span   string // Content-Range
	size   int    // Content-Length; 0: unknown
	sent   int    // if less than the length
}

const total = 1000

func whole() answer       { return answer{status: 200, size: total} }
func cut(sent int) answer { return answer{status: 200, size: total, sent: sent} }
func span(a, b int) answer {
	return answer{status: 206, span: fmt.Sprintf("bytes %d-%d/%d", a, b, total), size: b - a + 1}
}
func (a answer) of(n int) answer { a.sent = n; return a }

func (a answer) serve(w http.ResponseWriter) error {
	if a.span != "" {
		w.Header().Set("Content-Range", a.span)
	}
	if a.size > 0 {
		w.Header().Set("Content-Length", fmt.Sprint(a.size))
	}
	w.WriteHeader(a.status)
	if a.status == http.StatusNotModified {
		return nil
	}
	length := a.sent
	if length == 0 {
		length = a.size
	}
	_, err := w.Write(make([]byte, length))
	return err
}

// ask answers one request, and reports whether the meter let it through.
func (n *node) ask(t *testing.T, a answer) bool {
	t.Helper()
	method := a.method
	if method == "" {
		method = http.MethodGet
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the visitor may leave: what was begun is counted all the same
	recorder := httptest.NewRecorder()
	m := n.meter(recorder, httptest.NewRequestWithContext(ctx, method, "/", nil))
	err := a.serve(m)
	m.finish()
	m.finish() // once more changes nothing
	if m.refused && (!errors.Is(err, errRefused) || recorder.Body.Len() > 0 || recorder.Flushed) {
		t.Errorf("%+v: refused with the error %v, %d bytes sent", a, err, recorder.Body.Len())
	}
	if !m.refused && (err != nil || recorder.Code != a.status) {
		t.Errorf("%+v: let through with the error %v, status %d", a, err, recorder.Code)
	}
	return !m.refused
}

func TestMeter(t *testing.T) {
	multipart := answer{status: 206, size: 500}
	unsized := answer{status: 200}
	type step struct {
		answer  answer
		through bool
		count   int // in storage afterwards
	}
	for _, test := range []struct {
		name  string
		limit int
		steps []step
	}{
		{"whole downloads", 2, []step{{whole(), true, 1}, {whole(), true, 2}, {whole(), false, 2}, {whole(), false, 2}}},
		{"resumed downloads", 2, []step{
			{cut(400), true, 1}, {span(400, 999), true, 1},
			{cut(100), true, 2}, {span(100, 999), true, 2},
			{whole(), false, 2},
			{span(900, 999), true, 2}, // the last bytes were lost on their way
		}},
		{"a resumption cut again", 1, []step{
			{cut(100), true, 1}, {span(100, 999).of(100), true, 1}, {span(200, 999).of(100), true, 1},
			{span(300, 999).of(100), true, 1}, {span(400, 999), true, 1}, {whole(), false, 1},
		}},
		{"begun by a range", 1, []step{{span(0, 999).of(300), true, 1}, {span(300, 999), true, 1}, {span(0, 999), false, 1}, {whole(), false, 1}}},
		{"a range from the start is new when all bytes were sent", 2, []step{{whole(), true, 1}, {span(0, 999), true, 2}, {span(0, 999), false, 2}}},
		{"a player's probe", 1, []step{{span(0, 1), true, 1}, {span(0, 999), true, 1}, {span(0, 999), false, 1}}},
		{"a probe of a sixteenth", 1, []step{{span(0, 61), true, 1}, {span(0, 999), true, 1}}},
		{"a probe of more", 1, []step{{span(0, 62), true, 1}, {span(0, 999), false, 1}}},
		{"a probe after a download, within the slack", 1, []step{{whole(), true, 1}, {span(0, 61), true, 1}, {span(0, 61), false, 1}}},
		{"parallel segments", 1, []step{
			{span(0, 249), true, 1}, {span(250, 499), true, 1}, {span(500, 749), true, 1}, {span(750, 999), true, 1}, {span(0, 249), false, 1},
		}},
		{"segments in any order", 1, []step{{span(750, 999), true, 1}, {span(250, 499), true, 1}, {span(0, 249), true, 1}, {span(500, 749), true, 1}}},
		{"a player that seeks", 1, []step{
			{span(0, 999).of(100), true, 1}, {span(800, 999), true, 1}, {span(300, 999).of(100), true, 1}, {span(900, 999), true, 1}, {span(500, 999), true, 1},
		}},
		{"no content", 1, []step{
			{answer{method: "HEAD", status: 200, size: total}, true, 0}, {answer{status: 304}, true, 0}, {answer{status: 404, size: 9}, true, 0},
			{answer{status: 416, span: "bytes */1000"}, true, 0}, {answer{status: 302}, true, 0}, {answer{status: 500, size: 9}, true, 0},
			{answer{method: "HEAD", status: 206, span: "bytes 0-9/10"}, true, 0},
			{whole(), true, 1},
			{answer{method: "HEAD", status: 200, size: total}, true, 1}, {answer{status: 304}, true, 1}, {answer{status: 404, size: 9}, true, 1},
		}},
		{"another method that brings the content", 1, []step{{answer{method: "POST", status: 200, size: total}, true, 1}, {whole(), false, 1}}},
		{"several ranges at once", 2, []step{{multipart, true, 1}, {multipart, true, 2}, {multipart, false, 2}}},
		{"no size", 2, []step{{unsized, true, 1}, {unsized, true, 2}, {unsized, false, 2}}},
		{"no size, then a range", 1, []step{{unsized, true, 1}, {span(500, 999), true, 1}}},
		{"no size, then all of it as a range", 1, []step{{unsized, true, 1}, {span(0, 999), false, 1}}},
		{"ranges that say nothing", 4, []step{
			{answer{status: 206, span: "bytes 0-9/*", size: 10}, true, 1}, {answer{status: 206, span: "bytes 9-0/10", size: 10}, true, 2},
			{answer{status: 206, span: "bytes 0-10/10", size: 10}, true, 3}, {answer{status: 206, span: "pages 0-1/10", size: 10}, true, 4},
			{answer{status: 206, span: "bytes 0-9/10/11", size: 10}, false, 4},
		}},
		{"a size beyond all sizes", 1, []step{
			{answer{status: 206, span: "bytes 0-9/9223372036854775807", size: 10}, true, 1}, {answer{status: 206, span: "bytes 5-9/9223372036854775807", size: 5}, false, 1},
		}},
		{"a download that failed at once counts", 1, []step{{cut(1), true, 1}, {whole(), false, 1}}},
	} {
		n := newNode(newShelf(), test.limit)
		for i, step := range test.steps {
			if through := n.ask(t, step.answer); through != step.through {
				t.Errorf("%s, step %d: let through is %v", test.name, i, through)
			}
			if got := n.taken["cs_1"]; got != step.count {
				t.Errorf("%s, step %d: counted %d, want %d", test.name, i, got, step.count)
			}
		}
	}
}

// Who leaves out the first byte gets no end of downloads: for each fetch a few
// resumptions, and one on top.
func TestMeterBoundsEvasion(t *testing.T) {
	for _, test := range []struct {
		evasion answer
		limit   int
		through int
	}{
		{span(1, 999), 1, 1 + 1 + resumptions},
		{span(1, 999), 3, 3 + 1 + 3*resumptions},
		{span(500, 999), 1, 4 + resumptions},
		{span(0, 998), 1, 1},
		{span(0, 998), 3, 3},
	} {
		n := newNode(newShelf(), test.limit)
		through := 0
		for range 100 {
			if n.ask(t, test.evasion) {
				through++
			}
		}
		if through != test.through {
			t.Errorf("%s with %d downloads: %d times, want %d", test.evasion.span, test.limit, through, test.through)
		}
	}
}

// Another node, or this one after a restart, knows the count alone.
func TestMeterRestart(t *testing.T) {
	on := newShelf()
	newNode(on, 2).ask(t, cut(300))
	n := newNode(on, 2)
	for i, step := range []struct {
		answer  answer
		through bool
		count   int
	}{
		{span(300, 999), true, 1}, {span(0, 999), true, 2}, {span(0, 999), false, 2}, {whole(), false, 2}, {span(999, 999), true, 2},
	} {
		if through := n.ask(t, step.answer); through != step.through || on.taken["cs_1"] != step.count {
			t.Errorf("step %d: let through is %v, counted %d", i, through, on.taken["cs_1"])
		}
	}
}

// Two nodes take from one count, and each learns of the other's.
func TestMeterNodes(t *testing.T) {
	on := newShelf()
	one, two := newNode(on, 3), newNode(on, 3)
	for i, n := range []*node{one, two, one} {
		if !n.ask(t, whole()) {
			t.Errorf("fetch %d of 3 is refused", i)
		}
	}
	if two.ask(t, whole()) || one.ask(t, whole()) {
		t.Error("a fourth fetch of three")
	}
	if f, _ := one.known.GetIfPresent("cs_1"); f.count != 3 || f.used != 3*total {
		t.Errorf("a node thinks of %d fetches with %d bytes", f.count, f.used)
	}
	if f, _ := two.known.GetIfPresent("cs_1"); f.count != 3 {
		t.Errorf("the other node thinks of %d fetches", f.count)
	}
	asked := on.asked
	if two.ask(t, whole()); on.asked != asked {
		t.Error("storage was asked though none was left")
	}
}

// Purchases have nothing to do with each other.
func TestMeterTellsPurchasesApart(t *testing.T) {
	n := newNode(newShelf(), 1)
	for _, session := range []string{"cs_1", "cs_2"} {
		m := newMeter(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), n.known, n.shelf, zap.NewNop(), session, 1, time.Now)
		if _ = whole().serve(m); m.refused {
			t.Errorf("%s is refused", session)
		}
	}
}

// A storage in trouble costs nobody who has paid, yet memory goes on counting.
func TestMeterStorageFails(t *testing.T) {
	n := newNode(newShelf(), 3)
	n.failing = true
	for i, want := range []bool{true, true, true, false} {
		if through := n.ask(t, whole()); through != want {
			t.Errorf("without storage, fetch %d: let through is %v", i, through)
		}
	}
	if n.reported.Load() == 0 {
		t.Error("nobody complained")
	}

	n = newNode(newShelf(), 3)
	n.ask(t, whole())
	n.failing = true
	if !n.ask(t, cut(100)) || !n.ask(t, span(100, 999)) {
		t.Error("a storage that fails later refuses")
	}
	n.failing = false
	if !n.ask(t, whole()) || n.ask(t, whole()) {
		t.Error("what was counted in memory was forgotten, or counted twice")
	}

	n = newNode(newShelf(), 2)
	newNode(n.shelf, 2).ask(t, whole())
	n.failing = true
	if !n.ask(t, whole()) {
		t.Error("a storage that could never be read refuses")
	}
	n.failing = false
	if !n.ask(t, whole()) || n.ask(t, whole()) || n.taken["cs_1"] != 2 {
		t.Errorf("storage came back: %d counted", n.taken["cs_1"])
	}
}

// However many come at once, no more than the limit get through.
func TestMeterConcurrent(t *testing.T) {
	const limit = 5
	n := newNode(newShelf(), limit)
	var through atomic.Int64
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if n.ask(t, whole()) {
				through.Add(1)
			}
		})
	}
	group.Wait()
	if through.Load() != limit || n.taken["cs_1"] != limit {
		t.Errorf("%d of %d were let through, %d counted", through.Load(), limit, n.taken["cs_1"])
	}
}

// A body that is being sent keeps nobody waiting.
func TestMeterSendsWithoutLock(t *testing.T) {
	n := newNode(newShelf(), 2)
	m := n.meter(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	m.Header().Set("Content-Length", "1000")
	m.WriteHeader(200)
	if _, err := m.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if !n.ask(t, span(500, 999)) { // would hang
		t.Error("a second connection is refused")
	}
	m.finish()
	if f, _ := n.known.GetIfPresent("cs_1"); f.used != 501 {
		t.Errorf("%d bytes are taken for sent", f.used)
	}
}

func TestMeterRestoresHeader(t *testing.T) {
	n := newNode(newShelf(), 0)
	recorder := httptest.NewRecorder()
	recorder.Header().Set("Server", "Caddy")
	recorder.Header()["Set-Cookie"] = []string{"a=b"}
	before := recorder.Header().Clone()
	m := n.meter(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	m.Header().Set("Server", "nginx")
	m.Header().Add("Set-Cookie", "c=d")
	if err := whole().serve(m); !errors.Is(err, errRefused) || !m.refused {
		t.Fatalf("refused is %v with %v", m.refused, err)
	}
	if err := http.NewResponseController(m).Flush(); !errors.Is(err, errRefused) || recorder.Flushed {
		t.Errorf("flushed after a refusal: %v", err)
	}
	if _, err := io.Copy(m, strings.NewReader("x")); !errors.Is(err, errRefused) {
		t.Errorf("copied after a refusal: %v", err)
	}
	m.restore()
	if !maps.EqualFunc(recorder.Header(), before, func(a, b []string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Errorf("the header is %v", recorder.Header())
	}
	recorder.WriteHeader(http.StatusForbidden)
	if recorder.Code != http.StatusForbidden {
		t.Errorf("the page leaves with %d", recorder.Code)
	}
}

// A proxy panics when its copy is stopped.
func TestMeterServe(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	abort := func(reason any) caddyhttp.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) error {
			if err := whole().serve(w); err != nil {
				panic(reason)
			}
			return io.EOF
		}
	}
	n := newNode(newShelf(), 1)
	m := n.meter(httptest.NewRecorder(), r)
	if err := m.serve(abort(nil), r); !errors.Is(err, io.EOF) || m.refused || m.granted != nil {
		t.Errorf("let through: %v, refused is %v", err, m.refused)
	}
	m = n.meter(httptest.NewRecorder(), r)
	if err := m.serve(abort(http.ErrAbortHandler), r); err != nil || !m.refused {
		t.Errorf("refused is %v, with the error %v", m.refused, err)
	}
	m = n.meter(httptest.NewRecorder(), r)
	if err := m.serve(caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error { return whole().serve(w) }), r); err != nil {
		t.Errorf("the error of a stopped copy came out: %v", err)
	}
	for _, test := range []struct {
		reason any
		limit  int
	}{{"bug", 1}, {http.ErrAbortHandler, 2}} { // the latter is not refused: the connection has to be cut
		reason, limit := test.reason, test.limit
		func() {
			defer func() {
				if got := recover(); got != reason {
					t.Errorf("panicked with %v, want %v", got, reason)
				}
			}()
			m := newNode(n.shelf, limit).meter(httptest.NewRecorder(), r)
			_ = m.serve(caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				_ = whole().serve(w)
				panic(reason)
			}), r)
		}()
	}
}

// finalWriter is a recorder that knows early hints.
type finalWriter struct{ *httptest.ResponseRecorder }

func (w finalWriter) WriteHeader(status int) {
	if status >= 200 {
		w.ResponseRecorder.WriteHeader(status)
	}
}

// Early hints decide nothing, and what a handler writes without a header is a 200.
func TestMeterHeaders(t *testing.T) {
	for name, write := range map[string]func(m *meter) error{
		"Write":    func(m *meter) error { _, err := m.Write([]byte("x")); return err },
		"ReadFrom": func(m *meter) error { _, err := m.ReadFrom(strings.NewReader("x")); return err },
		"Flush":    func(m *meter) error { return http.NewResponseController(m).Flush() },
	} {
		n := newNode(newShelf(), 1)
		m := n.meter(finalWriter{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/", nil))
		m.WriteHeader(http.StatusEarlyHints)
		if n.taken["cs_1"] != 0 {
			t.Errorf("%s: early hints were counted", name)
		}
		for range 2 {
			if err := write(m); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n.taken["cs_1"] != 1 {
			t.Errorf("%s: counted %d", name, n.taken["cs_1"])
		}
	}
}

// fastWriter has a fast path for files.
type fastWriter struct {
	http.ResponseWriter
	fast bool
}

func (w *fastWriter) ReadFrom(from io.Reader) (int64, error) {
	w.fast = true
	return io.Copy(w.ResponseWriter, from)
}

func TestMeterKeepsFastPath(t *testing.T) {
	n := newNode(newShelf(), 1)
	below := &fastWriter{ResponseWriter: httptest.NewRecorder()}
	m := n.meter(below, httptest.NewRequest(http.MethodGet, "/", nil))
	m.Header().Set("Content-Length", "1000")
	if sent, err := m.ReadFrom(bytes.NewReader(make([]byte, 700))); sent != 700 || err != nil || !below.fast {
		t.Errorf("%d bytes, %v, on the fast path: %v", sent, err, below.fast)
	}
	m.finish()
	if f, _ := n.known.GetIfPresent("cs_1"); f.used != 700 {
		t.Errorf("%d bytes are taken for sent", f.used)
	}
	if m.Unwrap() == nil {
		t.Error("nothing below")
	}
}

func TestReadPart(t *testing.T) {
	for _, test := range []struct {
		status       int
		length, span string
		want         part
		counts       bool
	}{
		{200, "10", "", part{whole: true, length: 10, total: 10}, true},
		{200, "", "", part{whole: true}, true},
		{200, "-1", "", part{whole: true}, true},
		{200, "0", "", part{whole: true}, false}, // nothing is fetched
		{206, "5", "bytes 5-9/10", part{start: 5, length: 5, total: 10}, true},
		{206, "5", "bytes 5-10/10", part{whole: true}, true},
		{206, "5", "bytes 5-9", part{whole: true}, true},
		{206, "5", "bytes +5-9/10", part{whole: true}, true},
		{206, "5", "", part{whole: true}, true},
		{204, "", "", part{}, false},
	} {
		header := http.Header{"Content-Length": {test.length}}
		if test.span != "" {
			header.Set("Content-Range", test.span)
		}
		if got, counts := readPart(test.status, header); got != test.want || counts != test.counts {
			t.Errorf("%d %q %q: %+v, counts is %v", test.status, test.length, test.span, got, counts)
		}
	}
}

func TestTimes(t *testing.T) {
	if got := times(3, total); got != 3*total {
		t.Errorf("got %d", got)
	}
	if got := times(1<<40, maxTotal/2); got != maxTotal {
		t.Errorf("got %d", got)
	}
}

// What the file server of Go answers is understood.
func TestMeterBehindServeContent(t *testing.T) {
	n := newNode(newShelf(), 1)
	content := bytes.NewReader(bytes.Repeat([]byte("x"), total))
	ask := func(ranges string) *meter {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		m := n.meter(httptest.NewRecorder(), r)
		http.ServeContent(m, r, "file.bin", time.Time{}, content)
		m.finish()
		return m
	}
	for _, test := range []struct {
		ranges  string
		refused bool
	}{
		{"bytes=5000-", false}, {"bytes=0-1", false}, {"bytes=0-", false}, {"bytes=-100", false}, {"bytes=0-9,20-29", true}, {"", true}, {"bytes=0-", true},
	} {
		if m := ask(test.ranges); m.refused != test.refused {
			t.Errorf("%q: refused is %v", test.ranges, m.refused)
		}
	}
}
