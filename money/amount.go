package money

import (
	"fmt"

	"github.com/shopspring/decimal"
)

// Amount is a number of major units of some currency.
//
// It has few methods because the linker keeps all exported methods of a type that is
// used by reflection. Those of decimal.Decimal add 160 kB to Caddy's binary.
type Amount decimal.Decimal

// ParseAmount reads the result of Amount.String. Use Parse and ParsePaid for untrusted
// text, as they bound the digits.
func ParseAmount(text string) (Amount, error) {
	amount, err := decimal.NewFromString(text)
	if err != nil {
		return Amount{}, fmt.Errorf("amount: %w", ErrSyntax)
	}
	return Amount(amount), nil
}

// Add returns the sum.
func (a Amount) Add(other Amount) Amount { return Amount(a.decimal().Add(other.decimal())) }

// Sub returns the difference.
func (a Amount) Sub(other Amount) Amount { return Amount(a.decimal().Sub(other.decimal())) }

// Compare returns a negative number if a is less than the other, and zero if they are equal.
func (a Amount) Compare(other Amount) int { return a.decimal().Cmp(other.decimal()) }

// InexactFloat64 returns an approximation, for metrics.
func (a Amount) InexactFloat64() float64 { return a.decimal().InexactFloat64() }

// String returns the amount without trailing zeros.
func (a Amount) String() string { return a.decimal().String() }

// MarshalJSON writes a string, as many programs read JSON numbers as floats.
func (a Amount) MarshalJSON() ([]byte, error) { return a.decimal().MarshalJSON() }

// UnmarshalJSON reads a JSON number or a string.
func (a *Amount) UnmarshalJSON(raw []byte) error { return (*decimal.Decimal)(a).UnmarshalJSON(raw) }

func (a Amount) decimal() decimal.Decimal { return decimal.Decimal(a) }
