package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

// outcome of a payment as it is stored.
const (
	accepted = "accepted"
	mismatch = "mismatch"
)

// seconds is a time as it is stored: NULL for the zero time.
func seconds(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.Unix(), Valid: !t.IsZero()}
}

// timeOf reads what seconds has stored.
func timeOf(s sql.NullInt64) time.Time {
	if !s.Valid {
		return time.Time{}
	}
	return time.Unix(s.Int64, 0).UTC()
}

// accessSeconds is a length of access as it is stored: NULL for no expiry.
func accessSeconds(a terms.Access) sql.NullInt64 {
	return sql.NullInt64{Int64: int64(a.Length() / time.Second), Valid: a != terms.Forever}
}

// fractionDigits is the number of decimal digits of a currency.
func fractionDigits(currency string) int {
	_, fraction, _ := strings.Cut(money.Price{Currency: currency}.Digits(), ".")
	return len(fraction)
}

// minorUnits is a price in its currency's minor unit: NULL where it has no currency or is no integer.
func minorUnits(p money.Price) sql.NullInt64 {
	if p.Currency == "" {
		return sql.NullInt64{}
	}
	digits := fractionDigits(p.Currency)
	whole, fraction, _ := strings.Cut(p.Digits(), ".")
	if len(fraction) < digits || strings.Trim(fraction[digits:], "0") != "" {
		return sql.NullInt64{}
	}
	minor, err := strconv.ParseInt(whole+fraction[:digits], 10, 64)
	return sql.NullInt64{Int64: minor, Valid: err == nil}
}

// priceOf reads what minorUnits has stored.
func priceOf(minor sql.NullInt64, currency string) money.Price {
	if !minor.Valid || currency == "" {
		return money.Price{}
	}
	digits := fractionDigits(currency)
	text := fmt.Sprintf("%0*d", digits+1, minor.Int64)
	if digits > 0 {
		text = text[:len(text)-digits] + "." + text[len(text)-digits:]
	}
	amount, err := money.ParseAmount(text)
	if err != nil {
		return money.Price{}
	}
	return money.Price{Amount: amount, Currency: currency}
}

// soldTerms is the body of a row of terms. The price and what is extended are columns of the payment, so
// that most payments share a row.
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

// scope is what a payment opens. Only payments of one scope belong to one purchase.
type scope struct{ site, product, resource string }

func (s soldTerms) scope() scope { return scope{s.Site, s.Product, s.Resource} }

// encodeTerms returns the row of terms that t has.
func encodeTerms(t terms.Terms) (hash, body string, err error) {
	raw, err := json.Marshal(soldTerms{
		Installation: t.Installation, Site: t.Site, Product: t.Pass, Resource: t.Resource,
		Access: t.Access.String(), Downloads: t.Downloads, Devices: t.Devices, Claim: t.Claim,
	})
	if err != nil {
		return "", "", err
	}
	return hashOf(string(raw)), string(raw), nil
}

// decodeTerms reads a body of terms. Price, Extends and From are not in it.
func decodeTerms(body string) (terms.Terms, error) {
	var s soldTerms
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		return terms.Terms{}, err
	}
	access, err := terms.ParseAccess(s.Access)
	return terms.Terms{
		Installation: s.Installation, Site: s.Site, Pass: s.Product, Resource: s.Resource,
		Access: access, Downloads: s.Downloads, Devices: s.Devices, Claim: s.Claim,
	}, err
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

// termsCache remembers terms by their hash, which says what they are in any database.
type termsCache struct {
	mu   sync.Mutex
	sold map[string]soldTerms
}

// maxTerms bounds the terms that are remembered.
const maxTerms = 4096

func (c *termsCache) get(ctx context.Context, tx *tx, hash string) (soldTerms, error) {
	c.mu.Lock()
	sold, ok := c.sold[hash]
	c.mu.Unlock()
	if ok {
		return sold, nil
	}
	var body string
	if err := tx.QueryRowContext(ctx, `SELECT body FROM terms WHERE hash = $1`, hash).Scan(&body); err != nil {
		return soldTerms{}, fmt.Errorf("terms %s: %w", hash, err)
	}
	if err := json.Unmarshal([]byte(body), &sold); err != nil {
		return soldTerms{}, fmt.Errorf("terms %s: %w", hash, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sold == nil || len(c.sold) >= maxTerms {
		c.sold = map[string]soldTerms{}
	}
	c.sold[hash] = sold
	return sold, nil
}
