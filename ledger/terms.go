package ledger

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

// soldTerms is the body of a row of terms. The price and what is extended are stored with the payment, so that most
// payments share a row.
type soldTerms struct {
	Installation string `json:"installation"`
	Site         string `json:"site"`
	Product      string `json:"product"`
	Resource     string `json:"resource"`
	Access       string `json:"access"` // seconds, or "forever"
	Downloads    int    `json:"downloads,omitempty"`
	Devices      int    `json:"devices,omitempty"`
	Claim        bool   `json:"claim,omitempty"`
}

// scope is what a payment opens. Only payments of one scope count for one purchase.
type scope struct{ site, product, resource string }

func (s soldTerms) scope() scope { return scope{s.Site, s.Product, s.Resource} }

// storeTerms stores what was sold and returns its key.
func storeTerms(t *tx, sold terms.Terms) (hash string) {
	raw, err := json.Marshal(soldTerms{
		Installation: sold.Installation, Site: storable(sold.Site), Product: storable(sold.Pass), Resource: storable(sold.Resource),
		Access: sold.Access.String(), Downloads: sold.Downloads, Devices: sold.Devices, Claim: sold.Claim,
	})
	t.fail(err)
	hash = hashOf(string(raw))
	t.exec(`INSERT INTO terms (hash, body) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING`, hash, string(raw))
	return hash
}

func parseTerms(t *tx, body string) (sold soldTerms) {
	if t.err == nil {
		t.fail(json.Unmarshal([]byte(body), &sold))
	}
	return sold
}

// terms are those of a payment, without Price, Extends and From.
func (s soldTerms) terms() (terms.Terms, error) {
	access, err := terms.ParseAccess(s.Access)
	return terms.Terms{
		Installation: s.Installation, Site: s.Site, Pass: s.Product, Resource: s.Resource,
		Access: access, Downloads: s.Downloads, Devices: s.Devices, Claim: s.Claim,
	}, err
}

// accessSeconds is a length of access as it is stored: NULL for no expiry.
func accessSeconds(a terms.Access) sql.NullInt64 {
	return sql.NullInt64{Int64: int64(a.Length() / time.Second), Valid: a != terms.Forever}
}

func fractionDigits(currency string) int32 {
	_, fraction, _ := strings.Cut(money.Price{Currency: currency}.Digits(), ".")
	return int32(len(fraction)) //nolint:gosec // a few
}

// minorUnits is a price in its currency's minor unit: NULL where it has no currency or is no integer.
func minorUnits(p money.Price) sql.NullInt64 {
	minor := decimal.Decimal(p.Amount).Shift(fractionDigits(p.Currency))
	return sql.NullInt64{Int64: minor.IntPart(), Valid: p.Currency != "" && minor.IsInteger() && minor.BigInt().IsInt64()}
}

// priceOf reads what minorUnits has stored.
func priceOf(minor sql.NullInt64, currency string) money.Price {
	if !minor.Valid || currency == "" {
		return money.Price{}
	}
	return money.Price{Amount: money.Amount(decimal.New(minor.Int64, -fractionDigits(currency))), Currency: currency}
}

// hashOf returns 128 bits of a SHA-256 in hexadecimal. The parts cannot run into each other.
func hashOf(parts ...string) string {
	h := sha256.New()
	for i, part := range parts {
		if i > 0 {
			fmt.Fprintf(h, "\n%d ", len(part))
		}
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// PurchaseID is the id of the purchase whose first payment has this checkout session.
func PurchaseID(sessionID string) string { return hashOf(sessionID) }
