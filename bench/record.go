package main

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
)

func init() {
	caddy.RegisterModule(new(bareRecorder))
	httpcaddyfile.RegisterHandlerDirective("bench_record", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		b := new(bareRecorder)
		if !h.Next() || !h.AllArgs(&b.Ledger, &b.Metadata) {
			return nil, h.ArgErr()
		}
		return b, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("bench_record", httpcaddyfile.Before, "basic_auth")
}

// bareRecorder records a payment in a ledger of its own for each request. It reads the body and ignores it:
// no signature is checked, nothing is decoded, counted, logged or announced.
type bareRecorder struct {
	Ledger   string `json:"ledger,omitempty"`   // path or URL
	Metadata string `json:"metadata,omitempty"` // file with the metadata of what is sold, JSON

	payment func() (ledger.Payment, error)
	ledger  *ledger.Ledger
}

// CaddyModule returns the Caddy module information.
func (*bareRecorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bench_record", New: func() caddy.Module { return new(bareRecorder) }}
}

// Provision opens the ledger. The metadata is read by the first request, as the site beside has to sell once.
func (b *bareRecorder) Provision(ctx caddy.Context) (err error) {
	b.payment = sync.OnceValues(b.read)
	b.ledger, err = openLedger(ctx, location(b.Ledger))
	return err
}

// read is the payment that the webhook makes of such metadata.
func (b *bareRecorder) read() (ledger.Payment, error) {
	raw, err := os.ReadFile(b.Metadata)
	if err != nil {
		return ledger.Payment{}, err
	}
	var sold map[string]string
	if err := json.Unmarshal(raw, &sold); err != nil {
		return ledger.Payment{}, err
	}
	read, err := terms.FromMetadata(sold)
	return ledger.Payment{Source: ledger.FromAxra, Terms: read, Paid: read.Price, PaidRaw: read.Price.Digits() + " USD"}, err
}

// Cleanup closes the ledger.
func (b *bareRecorder) Cleanup() error {
	if b.ledger == nil {
		return nil
	}
	return b.ledger.Close()
}

func (b *bareRecorder) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	payment, err := b.payment()
	if err != nil {
		return err
	}
	payment.SessionID, payment.PaymentIDs, payment.PaidAt = "cs_"+rand.Text(), []string{"bpay_" + rand.Text()}, time.Now()
	if _, err := b.ledger.RecordPayment(r.Context(), payment); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
