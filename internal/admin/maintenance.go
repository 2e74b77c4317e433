package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
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
	report := Report{from.UTC(), to.UTC(), found.Mismatched, found.DoubleCharges, []ReportLine{}}
	for _, line := range found.Lines {
		amount := func(minor int64) json.Number { return line.Price(minor).Number() }
		report.Lines = append(report.Lines, ReportLine{
			line.Site, line.Product, strings.ToUpper(line.Currency),
			line.Sales.Count, amount(line.Sales.Minor), line.Refunds.Count, amount(line.Refunds.Minor),
			line.Disputes.Count, amount(line.Disputes.Minor), line.DisputesLost.Count, amount(line.DisputesLost.Minor), amount(line.Net()),
		})
	}
	return report, nil
}

// Sweep deletes purchases whose access ended longer ago than Keep.
func (a *API) Sweep(ctx context.Context, _ struct{}) (ledger.Swept, error) {
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

// RemoveKeyRequest names a signing key.
type RemoveKeyRequest struct {
	Key string `json:"key"`
	Yes bool   `json:"yes,omitempty" help:"Confirm: buyers with cookies of this key lose access"`
}

func (a *API) listKeys(context.Context, struct{}) ([]token.KeyInfo, error) {
	return a.Keys.List(a.SigningAlgorithm), nil
}

func (a *API) rotateKeys(ctx context.Context, _ struct{}) ([]token.KeyInfo, error) {
	kid, err := a.Keys.Rotate(ctx, a.Ledger, a.SigningAlgorithm)
	if err == nil {
		a.Logger.Info("signing key added; it signs once every node has read it", zap.String("kid", kid))
	}
	return a.Keys.List(a.SigningAlgorithm), err
}

func (a *API) removeKey(ctx context.Context, request RemoveKeyRequest) ([]token.KeyInfo, error) {
	if !a.Keys.Knows(request.Key) {
		return nil, token.ErrUnknownKey
	}
	if !request.Yes {
		return nil, refuse(http.StatusConflict, "all visitors whose cookies this key has signed would be logged out: add --yes if it has leaked, or rotate")
	}
	err := a.Keys.Remove(ctx, a.Ledger, request.Key, a.SigningAlgorithm)
	if err == nil {
		a.Logger.Warn("signing key removed; what it has signed is void", zap.String("kid", request.Key))
	}
	return a.Keys.List(a.SigningAlgorithm), err
}
