package paywall_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// BenchmarkWebhook is what it costs to take a payment, within Caddy and without the
// network, beside what Caddy's file storage takes to store the same records. Both store
// in turns, on the same disk; "of-bare" is the rate of the webhooks as a part of the rate
// of the storage by itself.
func BenchmarkWebhook(b *testing.B) {
	for _, connections := range []int{1, 32} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			w := newBenchWorld(b, strings.Replace(fiveLines, "SETUP", "SETUP ADMIN", 1))
			payments := newPayments(w)
			payments.take(b)
			bare := &bareStorage{files: &certmagic.FileStorage{Path: b.TempDir()}, records: w.records()}
			var taking, storing time.Duration
			b.ReportAllocs()
			for left := b.N; left > 0; left -= turn {
				n := min(left, turn)
				taking += atOnce(connections, n, func() { payments.take(b) })
				b.StopTimer()
				storing += atOnce(connections, n, func() { bare.store(b) })
				b.StartTimer()
			}
			b.ReportMetric(float64(storing)/float64(taking), "of-bare")
			b.ReportMetric(float64(storing.Nanoseconds())/float64(b.N), "bare-ns/op")
		})
	}
}

// turn is how many payments are taken before it is the bare storage's turn.
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

// records are the contents of the ledger, by kind.
func (w *world) records() map[string][]byte {
	records := make(map[string][]byte)
	root := filepath.Join(w.storage, "axra", "ledger")
	names, err := filepath.Glob(filepath.Join(root, "*", "*", "*"))
	mustDo(w.t, err)
	for _, name := range names {
		kind, err := filepath.Rel(root, name)
		mustDo(w.t, err)
		records[strings.Split(filepath.ToSlash(kind), "/")[0]], err = os.ReadFile(name)
		mustDo(w.t, err)
	}
	return records
}

// bareStorage stores the records of a payment again and again, under keys of the same
// form.
type bareStorage struct {
	files   *certmagic.FileStorage
	records map[string][]byte
	made    atomic.Int64
}

func (s *bareStorage) store(b *testing.B) {
	number := s.made.Add(1)
	for kind, record := range s.records {
		name := fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, kind, number)))
		key := "axra/ledger/" + kind + "/" + name[:2] + "/" + name[2:]
		if err := s.files.Store(b.Context(), key, record); err != nil {
			b.Error(err)
		}
	}
}
