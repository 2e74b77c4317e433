// Package money holds prices: a decimal amount in major units of an ISO 4217 currency,
// never a float.
package money

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	gomoney "github.com/Rhymond/go-money"
	"github.com/shopspring/decimal"
)

// Errors of Parse and ParsePaid.
var (
	ErrSyntax   = errors.New("not a plain decimal amount such as 5.00")
	ErrCurrency = errors.New("not an ISO 4217 currency code")
	ErrDigits   = errors.New("more decimal digits than the currency has")
	ErrTooSmall = errors.New("below the smallest amount Axra accepts, 0.50")
)

// Minimum is the smallest amount of a checkout session, in major units of any currency
// [payments/checkout-sessions].
var Minimum = Amount(decimal.RequireFromString("0.50"))

// plainAmount excludes signs and exponents: comparing decimals with a huge exponent would
// take gigabytes of memory.
var plainAmount = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,8})?$`) })

// numberAmount also allows short exponents, which some JSON encoders write.
var numberAmount = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,8})?([eE][+-]?[0-9])?$`) })

// Price is an amount in major units (25.00 means twenty-five) of a currency.
type Price struct {
	Amount   Amount
	Currency string // ISO 4217, lower case, as Axra's create call wants it
}

// Parse reads a price as a site owner writes it. The error wraps ErrSyntax, ErrCurrency,
// ErrDigits or ErrTooSmall.
func Parse(amount, currency string) (Price, error) {
	if !plainAmount().MatchString(amount) {
		return Price{}, fmt.Errorf("amount %q: %w", amount, ErrSyntax)
	}
	known := lookup(currency)
	if known == nil {
		return Price{}, fmt.Errorf("currency %q: %w", currency, ErrCurrency)
	}
	value, err := decimal.NewFromString(amount)
	if err != nil {
		return Price{}, fmt.Errorf("amount %q: %w", amount, ErrSyntax)
	}
	// Trailing zeros are dropped: "5.000" is 5.00.
	rounded := value.Truncate(int32(known.Fraction)) //nolint:gosec // at most four digits
	if !value.Equal(rounded) {
		return Price{}, fmt.Errorf("amount %s %s: %w (%d)", amount, known.Code, ErrDigits, known.Fraction)
	}
	if Amount(value).Compare(Minimum) < 0 {
		return Price{}, fmt.Errorf("amount %s %s: %w", amount, known.Code, ErrTooSmall)
	}
	return Price{Amount: Amount(rounded), Currency: strings.ToLower(known.Code)}, nil
}

// ParsePaid reads the amount and currency of an event: any non-negative amount, and a
// currency in either case. It keeps unknown currencies, so that a mismatch can be reported.
func ParsePaid(amount, currency string) (Price, error) {
	if !numberAmount().MatchString(amount) {
		return Price{}, fmt.Errorf("amount: %w", ErrSyntax)
	}
	value, err := decimal.NewFromString(amount)
	if err != nil {
		return Price{}, fmt.Errorf("amount: %w", ErrSyntax)
	}
	return Price{Amount: Amount(value), Currency: strings.ToLower(currency)}, nil
}

// CoveredBy reports whether paid is at least the price, in the same currency.
func (p Price) CoveredBy(paid Price) bool {
	return strings.EqualFold(p.Currency, paid.Currency) && paid.Amount.Compare(p.Amount) >= 0
}

// Equal reports whether both are the same amount of the same currency.
func (p Price) Equal(other Price) bool {
	return strings.EqualFold(p.Currency, other.Currency) && p.Amount.Compare(other.Amount) == 0
}

// Digits returns the amount with at least the decimal digits of the currency: "5.00".
func (p Price) Digits() string {
	digits := int32(2)
	if known := lookup(p.Currency); known != nil {
		digits = int32(known.Fraction) //nolint:gosec // at most four digits
	}
	amount := p.Amount.decimal()
	return amount.StringFixed(max(digits, -amount.Exponent()))
}

// Number returns the amount as a JSON number in major units.
func (p Price) Number() json.Number { return json.Number(p.Digits()) }

// String returns the price for people: "5.00 USD".
func (p Price) String() string { return p.Digits() + " " + strings.ToUpper(p.Currency) }

func lookup(code string) *gomoney.Currency {
	if len(code) != 3 {
		return nil
	}
	return gomoney.GetCurrency(strings.ToUpper(code))
}
