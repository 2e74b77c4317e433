package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
)

// ReportRequest is a span of time; an empty end leaves it open.
type ReportRequest struct {
	From string `json:"from,omitempty" help:"From this time on (default: the beginning)"`
	To   string `json:"to,omitempty" help:"Before this time (default: now)"`
}

// Report adds up what happened within a time.
type Report struct {
	From          time.Time    `json:"from,omitzero"` // absent: the beginning
	To            time.Time    `json:"to"`
	Mismatched    int          `json:"mismatched"` // payments in another amount or currency than asked, which Lines lack
	DoubleCharges int          `json:"double_charges"`
	Lines         []ReportLine `json:"lines"`
}

// ReportLine adds up one pass in one currency: numbers of payments, and amounts in major units.
type ReportLine struct {
	Site               string      `json:"site"`
	Pass               string      `json:"pass"`
	Currency           string      `json:"currency"`
	Sales              int         `json:"sales"`
	SalesAmount        json.Number `json:"sales_amount"`
	Refunds            int         `json:"refunds"`
	RefundsAmount      json.Number `json:"refunds_amount"`
	Disputes           int         `json:"disputes"`
	DisputesAmount     json.Number `json:"disputes_amount"`
	DisputesLost       int         `json:"disputes_lost"`
	DisputesLostAmount json.Number `json:"disputes_lost_amount"`
	Net                json.Number `json:"net"`
}

func (a *API) report(ctx context.Context, request ReportRequest) (Report, error) {
	from, to, err := parseSpan(request.From, request.To)
	if err != nil {
		return Report{}, refuse(http.StatusBadRequest, "%w", err)
	}
	if to.IsZero() {
		to = a.Now().Add(time.Second).Truncate(time.Second) // includes what has just been paid
	}
	found, err := a.Ledger.Report(ctx, from, to)
	if err != nil {
		return Report{}, err
	}
	report := Report{
		From: from.UTC(), To: to.UTC(), Mismatched: found.Mismatched, DoubleCharges: found.DoubleCharges, Lines: []ReportLine{},
	}
	for _, line := range found.Lines {
		amount := func(minor int64) json.Number { return line.Price(minor).Number() }
		report.Lines = append(report.Lines, ReportLine{
			Site: line.Site, Pass: line.Product, Currency: strings.ToUpper(line.Currency),
			Sales: line.Sales.Count, SalesAmount: amount(line.Sales.Minor),
			Refunds: line.Refunds.Count, RefundsAmount: amount(line.Refunds.Minor),
			Disputes: line.Disputes.Count, DisputesAmount: amount(line.Disputes.Minor),
			DisputesLost: line.DisputesLost.Count, DisputesLostAmount: amount(line.DisputesLost.Minor),
			Net: amount(line.Net()),
		})
	}
	return report, nil
}

// ErrMaintenance means that a sweep, an import or a restore is under way.
var ErrMaintenance = errors.New("a sweep or an import is under way: try again when it has ended")

func (a *API) sweep(ctx context.Context, _ None) (ledger.Swept, error) { return a.SweepLedger(ctx) }

// SweepLedger deletes purchases whose access ended longer ago than Keep.
func (a *API) SweepLedger(ctx context.Context) (ledger.Swept, error) {
	if a.Keep < 0 {
		return ledger.Swept{}, refuse(http.StatusConflict, "with `keep forever` nothing is swept")
	}
	if !a.Maintenance.TryLock() {
		return ledger.Swept{}, ErrMaintenance
	}
	defer a.Maintenance.Unlock()
	swept, err := a.Ledger.Sweep(ctx, a.Now().Add(-a.Keep))
	if swept.Purchases > 0 {
		a.Logger.Info("ledger swept", zap.Int("purchases", swept.Purchases))
	}
	return swept, err
}

// export writes the ledger as JSON lines, with the signing keys.
func (a *API) export(w http.ResponseWriter, r *http.Request) error {
	return a.stream(w, "application/jsonl", func(out io.Writer) error {
		rows, err := a.Ledger.Export(r.Context(), out)
		if err == nil {
			a.Logger.Info("ledger exported", zap.Int("rows", rows))
		}
		return err
	})
}

// backup writes a copy of the ledger's file, with the signing keys.
func (a *API) backup(w http.ResponseWriter, r *http.Request) error {
	if a.Ledger.Path() == "" {
		return ledger.ErrNoFile
	}
	return a.stream(w, "application/vnd.sqlite3", func(out io.Writer) error {
		err := a.Ledger.Backup(r.Context(), out)
		if err == nil {
			a.Logger.Info("ledger backed up")
		}
		return err
	})
}

// stream writes a long answer. An error after its beginning breaks the connection, which the client notices.
func (a *API) stream(w http.ResponseWriter, contentType string, write func(io.Writer) error) error {
	w.Header().Set("Content-Type", contentType)
	out := &startedWriter{Writer: w}
	err := write(out)
	if err != nil && out.started {
		a.Logger.Error("an answer of the admin API was cut off", zap.Error(err))
		_ = http.NewResponseController(w).Flush() // or else the client would see no answer at all
		panic(http.ErrAbortHandler)
	}
	return err
}

// startedWriter knows whether anything was written.
type startedWriter struct {
	io.Writer

	started bool
}

func (w *startedWriter) Write(p []byte) (int, error) {
	w.started = true
	return w.Writer.Write(p)
}

// importRows reads an export into the ledger, if that has no payments.
func (a *API) importRows(w http.ResponseWriter, r *http.Request) error {
	return a.replaceLedger(w, r, func(ctx context.Context, body io.Reader) (any, error) { return a.Ledger.Import(ctx, body) })
}

// restoreBackup puts a backup in place of the ledger.
func (a *API) restoreBackup(w http.ResponseWriter, r *http.Request) error {
	if a.Ledger.Path() == "" {
		drain(r.Body)
		return ledger.ErrNoFile
	}
	return a.replaceLedger(w, r, func(ctx context.Context, body io.Reader) (any, error) { return a.Ledger.Restore(ctx, body) })
}

// replaceLedger replaces the ledger by what the body holds, and reads it again.
func (a *API) replaceLedger(w http.ResponseWriter, r *http.Request, replace func(context.Context, io.Reader) (answer any, err error)) error {
	defer drain(r.Body)
	if !a.Maintenance.TryLock() {
		return ErrMaintenance
	}
	defer a.Maintenance.Unlock()
	ctx := context.WithoutCancel(r.Context()) // a client that leaves must not stop a swap half-way
	answer, err := replace(ctx, r.Body)
	if err != nil {
		return err
	}
	a.Logger.Warn("the ledger was replaced", zap.String("operation", r.URL.Path), zap.Any("by", answer))
	if err := a.Reload(ctx); err != nil {
		return fmt.Errorf("the ledger was replaced, but cannot be read: restart Caddy: %w", err)
	}
	return writeJSON(w, answer)
}

// drain reads the rest of an upload: a client that is still sending does not read the answer.
func drain(body io.Reader) { _, _ = io.Copy(io.Discard, body) }
