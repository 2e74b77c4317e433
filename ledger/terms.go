package ledger

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

// scope is what a payment opens. Only payments of one scope count for one purchase.
type scope struct{ site, product, resource string }

func scopeOf(sold terms.Terms) scope { return scope{sold.Site, sold.Pass, sold.Resource} }

// storeTerms stores what was sold, as metadata in JSON, and returns its key. The price and what is extended are stored
// with the payment, so that most payments share a row.
func storeTerms(t *tx, sold terms.Terms) (hash string) {
	sold.Price, sold.Extends, sold.From = money.Price{}, "", time.Time{}
	metadata := sold.Metadata()
	for name, value := range metadata {
		metadata[name] = storable(value)
	}
	body, err := json.Marshal(metadata)
	t.fail(err)
	hash = hashOf(string(body))
	t.exec(`INSERT INTO terms (hash, body) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING`, hash, string(body))
	return hash
}

// parseTerms reads what storeTerms has stored; NULL is no terms.
func parseTerms(body string) (terms.Terms, error) {
	if body == "" {
		return terms.Terms{}, nil
	}
	metadata, err := parseMetadata(body)
	if err != nil {
		return terms.Terms{}, err
	}
	return terms.Unpriced(metadata)
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

// parsePrice reads minor units and their currency; NULL is no price.
func parsePrice(text string) (money.Price, error) {
	minor, currency, _ := strings.Cut(text, " ")
	if currency == "" {
		return money.Price{}, nil
	}
	n, err := strconv.ParseInt(minor, 10, 64)
	return priceOf(n, currency), err
}

func priceOf(minor int64, currency string) money.Price {
	return money.Price{Amount: money.Amount(decimal.New(minor, -fractionDigits(currency))), Currency: currency}
}

// hashOf returns 128 bits of a SHA-256 in hexadecimal.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// PurchaseID is the id of the purchase whose first payment has this checkout session.
func PurchaseID(sessionID string) string { return hashOf(sessionID) }

// Reference is the beginning of a purchase's id, by which people name it.
func Reference(purchaseID string) string { return purchaseID[:min(10, len(purchaseID))] }
