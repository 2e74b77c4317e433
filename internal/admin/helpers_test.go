package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

// rig is an API over a ledger of its own, with a site that is made up.
type rig struct {
	*API

	t       *testing.T
	hooks   *fakeWebhooks
	pages   map[string]Page // by address
	at      time.Time
	reloads int
}

const site = "https://example.com"

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, at: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC), hooks: &fakeWebhooks{}, pages: make(map[string]Page)}
	now := func() time.Time { return r.at }
	book := ledger.New(ledger.Options{Path: filepath.Join(t.TempDir(), "ledger.db"), Now: now})
	t.Cleanup(func() { _ = book.Close() })
	_, err := book.Open(t.Context())
	r.must(err)
	keys := token.NewKeyring(now)
	r.must(keys.Ensure(t.Context(), book, token.HS256))
	r.API = &API{
		Ledger: book, Keys: keys, SigningAlgorithm: token.HS256, Page: r.page, Link: fakeLink,
		VerifyWebhook: r.hooks.Verify, RecordEvent: r.hooks.Record, RejectedWebhooks: r.hooks.Rejected,
		Maintenance: new(sync.Mutex), Keep: 60 * 24 * time.Hour, Logger: zap.NewNop(), Now: now,
		Reload: func(context.Context) error {
			r.reloads++
			return nil
		},
	}
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func price(t *testing.T, amount, currency string) money.Price {
	t.Helper()
	parsed, err := money.Parse(amount, currency)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// pay records a payment of a month and returns the id of its purchase.
func (r *rig) pay(session string) string {
	r.t.Helper()
	five := price(r.t, "5.00", "usd")
	sold := terms.Terms{
		Installation: r.Keys.Installation(), Site: site, Pass: "month", Resource: terms.AllPaths,
		Price: five, Access: terms.Access(30 * 24 * time.Hour), Devices: 1,
	}
	recorded, err := r.Ledger.RecordPayment(r.t.Context(), ledger.Payment{
		SessionID: session, PaymentIDs: []string{"pay_" + session}, Source: ledger.FromAxra, Terms: sold, Paid: five, PaidRaw: "5.00 USD", PaidAt: r.at,
	})
	r.must(err)
	return recorded.Purchase.ID
}

// send makes a call and returns what Caddy would answer.
func (r *rig) send(method, path string, body io.Reader) *httptest.ResponseRecorder {
	r.t.Helper()
	w := httptest.NewRecorder()
	err := r.ServeHTTP(w, httptest.NewRequest(method, Base+path, body))
	var known caddy.APIError
	switch {
	case errors.As(err, &known):
		w.WriteHeader(known.HTTPStatus)
		fmt.Fprint(w, known.Err)
	case err != nil:
		r.t.Errorf("%s %s: %v has no status", method, path, err)
	}
	return w
}

// post calls an operation; a request that is no reader is sent as JSON.
func (r *rig) post(name string, request any) *httptest.ResponseRecorder {
	r.t.Helper()
	body, isReader := request.(io.Reader)
	if !isReader {
		raw, err := json.Marshal(request)
		r.must(err)
		body = bytes.NewReader(raw)
	}
	return r.send(http.MethodPost, strings.ReplaceAll(name, " ", "/"), body)
}

// call calls an operation, which must go well.
func call[Answer any](r *rig, path string, request any) (answer Answer) {
	r.t.Helper()
	w := r.post(path, request)
	if w.Code != http.StatusOK {
		r.t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	r.must(json.Unmarshal(w.Body.Bytes(), &answer))
	return answer
}

// show shows a purchase.
func (r *rig) show(name string) Purchase {
	r.t.Helper()
	return call[Purchase](r, "show", PurchaseRequest{ID: name})
}

// refused calls an operation, which must be refused.
func (r *rig) refused(path string, request any, status int, phrase string) {
	r.t.Helper()
	if w := r.post(path, request); w.Code != status || !strings.Contains(w.Body.String(), phrase) {
		r.t.Errorf("%s %+v: %d %s, want %d %s", path, request, w.Code, w.Body, status, phrase)
	}
}

// fakeWebhooks takes a body as signed if the header X-Sig holds it.
type fakeWebhooks struct {
	taken    []webhook.Event
	rejected []webhook.Captured
	outcome  payments.Outcome
	err      error
}

func (*fakeWebhooks) Verify(header http.Header, body []byte) error {
	if header.Get("X-Sig") != string(body) {
		return webhook.ErrSignature
	}
	return nil
}

func (f *fakeWebhooks) Record(_ context.Context, event webhook.Event) (payments.Outcome, error) {
	f.taken = append(f.taken, event)
	return cmp.Or(f.outcome, payments.Paid), f.err
}

func (f *fakeWebhooks) Rejected() []webhook.Captured { return f.rejected }

func (r *rig) page(address string) (Page, error) {
	page, ok := r.pages[address]
	if !ok {
		return page, errors.New("no gate covers it")
	}
	return page, nil
}

func fakeLink(page Page, p ledger.Purchase, _ time.Time) (string, error) {
	return fmt.Sprintf("%s%s?purchase=%s", page.Site, page.Target, p.ID), nil
}
