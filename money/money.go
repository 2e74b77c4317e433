// Package money holds prices: a decimal amount in major units of an ISO 4217 currency, never a float.
package money

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

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

// Minimum is the smallest amount of a checkout session, in major units of any currency [payments/checkout-sessions].
var Minimum = Amount(decimal.RequireFromString("0.50"))

// Signs and long exponents are refused: comparing decimals with a huge exponent would take gigabytes of memory. Some JSON
// encoders write short exponents.
var (
	plainAmount  = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,8})?$`)
	numberAmount = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,20})?([eE][+-]?[0-9])?$`)
)

// How far an amount may be from one in the currency's digits and still mean that: programs that calculate with
// floating-point numbers write 19.99 as 19.990000000000002.
var (
	maxRelativeError = decimal.New(1, -12)
	maxError         = decimal.New(1, -6)
)

// Amount is a number of major units of some currency. It has few methods, because the linker keeps all exported methods
// of a type that is used by reflection: those of decimal.Decimal add 160 kB to Caddy's binary.
type Amount decimal.Decimal

// Compare returns a negative number if a is less than the other, and zero if they are equal.
func (a Amount) Compare(other Amount) int { return decimal.Decimal(a).Cmp(decimal.Decimal(other)) }

// InexactFloat64 returns an approximation, for metrics.
func (a Amount) InexactFloat64() float64 { return decimal.Decimal(a).InexactFloat64() }

// Price is an amount in major units (25.00 means twenty-five) of a currency.
type Price struct {
	Amount   Amount
	Currency string // ISO 4217, lower case, as Axra's create call wants it
}

// Parse reads a price as a site owner writes it. The error wraps ErrSyntax, ErrCurrency, ErrDigits or ErrTooSmall.
func Parse(amount, currency string) (Price, error) {
	value, err := decimal.NewFromString(plainAmount.FindString(amount))
	if err != nil {
		return Price{}, fmt.Errorf("amount %q: %w", amount, ErrSyntax)
	}
	known := lookup(currency)
	if known == nil {
		return Price{}, fmt.Errorf("currency %q: %w", currency, ErrCurrency)
	}
	// Trailing zeros are dropped: "5.000" is 5.00.
	price := Price{Amount: Amount(value.Truncate(int32(known.Fraction))), Currency: strings.ToLower(known.Code)} //nolint:gosec // at most four digits
	switch {
	case price.Amount.Compare(Amount(value)) != 0:
		return Price{}, fmt.Errorf("amount %s %s: %w (%d)", amount, known.Code, ErrDigits, known.Fraction)
	case price.Amount.Compare(Minimum) < 0:
		return Price{}, fmt.Errorf("amount %s %s: %w", amount, known.Code, ErrTooSmall)
	}
	return price, nil
}

// ParsePaid reads the amount and currency of an event: any non-negative amount, and a currency in either case. It keeps
// unknown currencies, so that a mismatch can be reported, and removes the errors of floating-point numbers.
func ParsePaid(amount, currency string) (Price, error) {
	value, err := decimal.NewFromString(numberAmount.FindString(amount))
	if err != nil {
		return Price{}, fmt.Errorf("amount: %w", ErrSyntax)
	}
	if known := lookup(currency); known != nil {
		rounded := value.Round(int32(known.Fraction)) //nolint:gosec // at most four digits
		if value.Sub(rounded).Abs().LessThan(decimal.Min(value.Mul(maxRelativeError), maxError)) {
			value = rounded
		}
	}
	return Price{Amount: Amount(value), Currency: strings.ToLower(currency)}, nil
}

// CoveredBy reports whether paid is at least the price, in the same currency.
func (p Price) CoveredBy(paid Price) bool {
	return strings.EqualFold(p.Currency, paid.Currency) && paid.Amount.Compare(p.Amount) >= 0
}

// Equal reports whether both are the same amount of the same currency.
func (p Price) Equal(other Price) bool { return p.CoveredBy(other) && other.CoveredBy(p) }

// Digits returns the amount with at least the decimal digits of the currency: "5.00".
func (p Price) Digits() string {
	digits := 2
	if known := lookup(p.Currency); known != nil {
		digits = known.Fraction
	}
	amount := decimal.Decimal(p.Amount)
	return amount.StringFixed(max(int32(digits), -amount.Exponent()))
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
