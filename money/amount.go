package money

import (
	"fmt"

	"github.com/shopspring/decimal"
)

// Amount is a number of major units of some currency.
//
// It is a type of its own, with the few methods that are needed: of a type that reflection
// may come across, the linker keeps every exported method, and those of decimal.Decimal
// bring along logarithms and the rational numbers of math/big, 160 kB of Caddy's binary.
type Amount decimal.Decimal

// ParseAmount reads what Amount.String has written. What comes from elsewhere is for Parse
// and ParsePaid, which bound its digits.
func ParseAmount(text string) (Amount, error) {
	amount, err := decimal.NewFromString(text)
	if err != nil {
		return Amount{}, fmt.Errorf("amount: %w", ErrSyntax)
	}
	return Amount(amount), nil
}

// Add returns the sum of both.
func (a Amount) Add(other Amount) Amount { return Amount(a.decimal().Add(other.decimal())) }

// Sub returns what is left of it without the other.
func (a Amount) Sub(other Amount) Amount { return Amount(a.decimal().Sub(other.decimal())) }

// Compare is negative where it is less than the other, zero where both are the same.
func (a Amount) Compare(other Amount) int { return a.decimal().Cmp(other.decimal()) }

// InexactFloat64 is for what need not be exact, such as metrics.
func (a Amount) InexactFloat64() float64 { return a.decimal().InexactFloat64() }

// String writes it without needless zeros.
func (a Amount) String() string { return a.decimal().String() }

// MarshalJSON writes it as a string, as decimal.Decimal does: many programs read JSON
// numbers as floats.
func (a Amount) MarshalJSON() ([]byte, error) { return a.decimal().MarshalJSON() }

// UnmarshalJSON reads a JSON number, or a string with one.
func (a *Amount) UnmarshalJSON(raw []byte) error { return (*decimal.Decimal)(a).UnmarshalJSON(raw) }

func (a Amount) decimal() decimal.Decimal { return decimal.Decimal(a) }
