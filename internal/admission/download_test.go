package admission

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

var errUsedUp = errors.New("all downloads are used")

// FC4, FC5 and FC6: the first byte of content opens a window, and nothing else does.
func TestFC4FC5FC6WhatCountsAsADownload(t *testing.T) {
	t.Parallel()
	limited := func(h *ledger.Holding) { h.DownloadLimit = 2 }
	for _, test := range []struct {
		name   string
		method string
		header string
		status int
		length string // Content-Length
		isOpen bool   // a window is
		ledger error
		opened int   // windows
		want   error // nil: it was sent
	}{
		{"a file", "GET", "", 200, "4", false, nil, 1, nil},
		{"a file of unknown length", "GET", "", 200, "", false, nil, 1, nil},
		{"a part", "GET", "", 206, "4", false, nil, 1, nil},
		{"a form's answer", "POST", "", 200, "4", false, nil, 1, nil},
		{"within a window", "GET", "", 206, "4", true, nil, 0, nil},
		{"within a window, without a ledger", "GET", "", 200, "4", true, ledger.ErrUnavailable, 0, nil},
		{"a header", "HEAD", "", 200, "4", false, nil, 0, nil},
		{"an empty file", "GET", "", 200, "0", false, nil, 0, nil},
		{"not modified", "GET", "", 304, "", false, nil, 0, nil},
		{"not found", "GET", "", 404, "9", false, nil, 0, nil},
		{"a redirect", "GET", "", 302, "", false, nil, 0, nil},
		{"used up", "GET", "", 200, "4", false, errUsedUp, 0, errUsedUp},
		{"a part, used up", "GET", "", 206, "4", false, errUsedUp, 0, errUsedUp},
		{"not modified, used up", "GET", "", 304, "", false, errUsedUp, 0, nil},
		{"without a ledger", "GET", "", 200, "4", false, ledger.ErrUnavailable, 0, ledger.ErrUnavailable},
		{"a prefetch", "GET", "Sec-Purpose: prefetch", 200, "4", false, nil, 0, ErrPrefetch},
		{"an old prefetch", "GET", "Purpose: prefetch", 200, "4", false, nil, 0, ErrPrefetch},
		{"a very old prefetch", "GET", "X-Moz: prefetch", 200, "4", false, nil, 0, ErrPrefetch},
		{"a prefetch of nothing", "GET", "Sec-Purpose: prefetch", 304, "", false, nil, 0, nil},
		{"a prefetch within a window", "GET", "Sec-Purpose: prefetch", 200, "4", true, nil, 0, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newCounter(t, limited, func(h *ledger.Holding) {
				if test.isOpen {
					h.DownloadWindowEndsAt = time.Date(2025, 6, 1, 13, 0, 0, 0, time.UTC)
				}
			})
			c.ledger.err = test.ledger
			r := request("/book.txt", "Accept: */*", test.header)
			r.Method = test.method
			w, err := c.serve(r, func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Etag", `"book"`)
				if test.length != "" {
					w.Header().Set("Content-Length", test.length)
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, "paid") // which fails where nothing is sent
				return nil
			})
			if test.want != nil {
				if !errors.Is(err, ErrRefused) || !errors.Is(err, test.want) || w.Body.Len() > 0 || w.Header().Get("Etag") != "" {
					t.Errorf("error %v; sent %v %s", err, w.Header(), w.Body)
				}
			} else if err != nil || w.Code != test.status || w.Header().Get("Etag") == "" {
				t.Errorf("error %v; sent %d %v", err, w.Code, w.Header())
			}
			if len(c.ledger.opened) != test.opened {
				t.Errorf("opened %v", c.ledger.opened)
			}
		})
	}
}

// FC5: ranges inside a window that this node has opened are free, until it ends.
func TestFC5AWindowIsOpenUntilItsEnd(t *testing.T) {
	t.Parallel()
	c := newCounter(t, func(h *ledger.Holding) { h.DownloadLimit = 2 })
	fetch := func() {
		t.Helper()
		if w, err := c.serve(request("/"), func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusPartialContent)
			return nil
		}); err != nil || w.Code != http.StatusPartialContent {
			t.Fatal(w.Code, err)
		}
	}
	for _, step := range []struct {
		pass time.Duration
		want int // windows
	}{{0, 1}, {0, 1}, {DefaultDownloadWindow - time.Second, 1}, {time.Second, 2}, {time.Hour, 2}} {
		c.node.Pass(step.pass)
		if fetch(); len(c.ledger.opened) != step.want {
			t.Errorf("after %s more: %d windows, want %d", step.pass, len(c.ledger.opened), step.want)
		}
	}
}

func TestAHandlerThatFailsIsNotRefused(t *testing.T) {
	t.Parallel()
	c := newCounter(t, func(h *ledger.Holding) { h.DownloadLimit = 2 })
	errOfHandler := errors.New("of the handler")
	if _, err := c.serve(request("/"), func(http.ResponseWriter, *http.Request) error { return errOfHandler }); !errors.Is(err, errOfHandler) {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsNotLimitedIsNotCounted(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	c.ledger.err = errUsedUp
	if w, err := c.serve(request("/"), func(w http.ResponseWriter, _ *http.Request) error {
		_, err := io.WriteString(w, "paid")
		return err
	}); err != nil || w.Body.String() != "paid" {
		t.Errorf("%v %s", err, w.Body)
	}
}
