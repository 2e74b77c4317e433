package paywall_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

// BenchmarkWebhook takes payments within Caddy, without the network, and in turns records the same payments
// in a ledger alone. "of-bare" is the rate of the webhook as a part of the rate of the ledger.
func BenchmarkWebhook(b *testing.B) {
	for _, connections := range []int{1, 32} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			w := newBenchWorld(b, strings.Replace(fiveLines, "SETUP", "SETUP ADMIN", 1))
			paywall.UseRealClock() // that of the tests takes a lock
			payments := newPayments(w)
			bare := newBareLedger(b, payments.template)
			var taking, recording time.Duration
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; left -= turn {
				n := min(left, turn)
				taking += atOnce(connections, n, func() { payments.take(b) })
				b.StopTimer()
				recording += atOnce(connections, n, func() { bare.record(b) })
				b.StartTimer()
			}
			b.ReportMetric(float64(recording)/float64(taking), "of-bare")
			b.ReportMetric(float64(recording.Nanoseconds())/float64(b.N), "bare-ns/op")
		})
	}
}

// turn is how many payments are taken before it is the bare ledger's turn.
const turn = 512

// atOnce calls do n times from so many goroutines and returns how long that took.
func atOnce(goroutines, n int, do func()) time.Duration {
	var work sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	began := time.Now()
	for range goroutines {
		work.Go(func() {
			for left.Add(-1) >= 0 {
				do()
			}
		})
	}
	work.Wait()
	return time.Since(began)
}

// payments are signed events about checkouts that were never paid before.
type payments struct {
	handler  http.Handler
	template []byte
	session  string
	made     atomic.Int64
}

func newPayments(w *world) *payments {
	session, event := w.visitor().started("/premium/article.html")
	return &payments{handler: onlyServer(w.t), template: encode(w.t, event), session: session}
}

func (p *payments) take(b *testing.B) {
	number := fmt.Sprintf("%0*d", len(p.session)-3, p.made.Add(1))
	body := bytes.ReplaceAll(p.template, []byte(p.session), []byte("cs_"+number))
	request := httptest.NewRequest(http.MethodPost, "http://localhost/webhooks/axra", bytes.NewReader(body))
	request.Header.Set("X-Axra-Signature", sign(body, webhookSecret))
	recorder := httptest.NewRecorder()
	p.handler.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		b.Error(recorder.Code)
	}
}

// bareLedger records a payment again and again, each for a checkout of its own.
type bareLedger struct {
	ledger  *ledger.Ledger
	payment ledger.Payment
	made    atomic.Int64
}

func newBareLedger(b *testing.B, event []byte) *bareLedger {
	b.Helper()
	decoded, err := webhook.Decode(event)
	mustDo(b, err)
	sold, err := terms.FromMetadata(decoded.Metadata)
	mustDo(b, err)
	l := ledger.New(ledger.Options{Path: filepath.Join(b.TempDir(), "ledger.db")})
	_, err = l.Open(b.Context())
	mustDo(b, err)
	b.Cleanup(func() { mustDo(b, l.Close()) })
	return &bareLedger{ledger: l, payment: ledger.Payment{Terms: sold, Paid: decoded.Paid, PaidRaw: decoded.PaidRaw}}
}

func (l *bareLedger) record(b *testing.B) {
	payment := l.payment
	number := fmt.Sprintf("%026d", l.made.Add(1))
	payment.SessionID, payment.PaymentIDs, payment.PaidAt = "cs_"+number, []string{"bpay_cs_" + number}, time.Now()
	if _, err := l.ledger.RecordPayment(b.Context(), payment); err != nil {
		b.Error(err)
	}
}
