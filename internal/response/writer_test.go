package response

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

var errOfHandler = errors.New("of the handler")

// serveIf runs a handler that sets a header, and then writes.
func serveIf(w http.ResponseWriter, write func(w http.ResponseWriter) error, hook Hook) (Outcome, error) {
	w.Header().Set("X-Before", "kept")
	return ServeIf(w, httptest.NewRequest(http.MethodGet, "/", nil), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Etag", `"paid"`)
		w.Header().Set("X-Before", "changed")
		return write(w)
	}), hook)
}

// sendUnless withholds a response if it is refused.
func sendUnless(refused bool) Hook {
	return func(_ *Writer, status int) int {
		if refused {
			return 0
		}
		return status
	}
}

func TestAnAnswerIsSentOrWithheld(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		write  func(w http.ResponseWriter) error
		refuse bool
		want   Outcome
		err    error
		status int
		body   string
	}{
		{"nothing", func(http.ResponseWriter) error { return nil }, false, Nothing, nil, 200, ""},
		{"an error", func(http.ResponseWriter) error { return errOfHandler }, false, Nothing, errOfHandler, 200, ""},
		{"an error instead of an answer to withhold", func(http.ResponseWriter) error { return errOfHandler }, true, Nothing, errOfHandler, 200, ""},
		{"a body", func(w http.ResponseWriter) error { _, err := io.WriteString(w, "paid"); return err }, false, Sent, nil, 402, "paid"},
		{"a body and an error", func(w http.ResponseWriter) error {
			_, _ = io.WriteString(w, "paid")
			return errOfHandler
		}, false, Sent, errOfHandler, 402, "paid"},
		{"a copied body", func(w http.ResponseWriter) error {
			_, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("paid"))
			return err
		}, false, Sent, nil, 402, "paid"},
		{"a flush", func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() }, false, Sent, nil, 402, ""},
		{"two headers", func(w http.ResponseWriter) error { w.WriteHeader(206); w.WriteHeader(500); return nil }, false, Sent, nil, 402, ""},
		{"withheld header", func(w http.ResponseWriter) error { w.WriteHeader(206); w.WriteHeader(200); return nil }, true, Withheld, nil, 200, ""},
		{"withheld body", func(w http.ResponseWriter) error { _, err := io.WriteString(w, "paid"); return err }, true, Withheld, nil, 200, ""},
		{"withheld copied body", func(w http.ResponseWriter) error {
			_, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("paid"))
			return err
		}, true, Withheld, nil, 200, ""},
		{"withheld flush", func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() }, true, Withheld, nil, 200, ""},
		{"withheld, as a proxy copies it", func(w http.ResponseWriter) error {
			if _, err := io.WriteString(w, "paid"); err == nil {
				t.Error("the write has not failed")
			}
			panic(http.ErrAbortHandler)
		}, true, Withheld, nil, 200, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			recorder := httptest.NewRecorder()
			got, err := serveIf(recorder, test.write, func(w *Writer, status int) int {
				if status != 200 && status != 206 || w.Header().Get("Etag") == "" {
					t.Errorf("asked about %d with %v", status, w.Header())
				}
				if test.refuse {
					return 0
				}
				return 402
			})
			if got != test.want || !errors.Is(err, test.err) || recorder.Code != test.status || recorder.Body.String() != test.body {
				t.Errorf("outcome %d, error %v; sent %d %q", got, err, recorder.Code, recorder.Body)
			}
			if isOld := recorder.Header().Get("X-Before") == "kept" && recorder.Header().Get("Etag") == ""; isOld != (test.want == Withheld) {
				t.Errorf("header %v", recorder.Header())
			}
		})
	}
}

// A proxy panics with http.ErrAbortHandler when it cannot copy an answer.
func TestOnlyTheAbortOfAWithheldAnswerIsSwallowed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		reason       any
		refuse, want bool // it goes on
	}{
		{http.ErrAbortHandler, true, false},
		{http.ErrAbortHandler, false, true},
		{"a bug", true, true},
		{"a bug", false, true},
	} {
		func() {
			defer func() {
				if got := recover() != nil; got != test.want {
					t.Errorf("%+v: it goes on: %t", test, got)
				}
			}()
			_, _ = serveIf(httptest.NewRecorder(), func(w http.ResponseWriter) error {
				w.WriteHeader(http.StatusOK)
				panic(test.reason)
			}, sendUnless(test.refuse))
		}()
	}
}

func TestInformationalAnswersAreNotDecidedAbout(t *testing.T) {
	t.Parallel()
	asked := 0
	outcome, err := serveIf(httptest.NewRecorder(), func(w http.ResponseWriter) error {
		w.WriteHeader(http.StatusEarlyHints)
		return nil
	}, func(*Writer, int) int { asked++; return 0 })
	if outcome != Nothing || err != nil || asked != 0 {
		t.Errorf("outcome %d, error %v, asked %d times", outcome, err, asked)
	}
}

// hijackable is a connection that can be taken.
type hijackable struct {
	*httptest.ResponseRecorder
	taken bool
}

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h.taken = true
	return nil, nil, nil
}

// A proxy that switches protocols takes the connection whatever WriteHeader decided.
func TestG8TheConnectionOfAnAnswerThatIsWithheldIsNotTaken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ isUpgraded, refuse, want bool }{{true, false, true}, {true, true, false}, {false, false, false}} {
		w := &hijackable{ResponseRecorder: httptest.NewRecorder()}
		_, _ = serveIf(w, func(w http.ResponseWriter) error {
			if test.isUpgraded {
				w.WriteHeader(http.StatusSwitchingProtocols)
			}
			_, _, err := http.NewResponseController(w).Hijack()
			return err
		}, sendUnless(test.refuse))
		if w.taken != test.want {
			t.Errorf("%+v: taken %t", test, w.taken)
		}
	}
}
