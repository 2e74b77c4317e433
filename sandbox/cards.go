package sandbox

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// testCard is a number that the sandbox knows. [reference/testing]
type testCard struct {
	Number    string // as it is written for people
	Outcome   string // for the page's help text
	challenge bool   // asks the 3-D Secure question
	failure   string // why it fails; empty when it succeeds
}

// testCards are the six of the documentation. [reference/testing]
func testCards() []testCard {
	return []testCard{
		{Number: "4242 4242 4242 4242", Outcome: "succeeds"},
		{Number: "4000 0000 0000 0002", Outcome: "declined", failure: "Your card was declined."},
		{Number: "4000 0025 0000 3155", Outcome: "3-D Secure, succeeds", challenge: true},
		{Number: "4000 0082 6000 3178", Outcome: "3-D Secure, fails", challenge: true, failure: "3-D Secure authentication failed."},
		{Number: "4000 0000 0000 9995", Outcome: "insufficient funds", failure: "Your card has insufficient funds."},
		{Number: "4000 0000 0000 3220", Outcome: "3-D Secure 2, succeeds", challenge: true},
	}
}

// lookUpCard takes digits only. Every other number is declined.
func lookUpCard(digits string) testCard {
	for _, c := range testCards() {
		if cardDigits(c.Number) == digits {
			return c
		}
	}
	return testCard{Number: digits, failure: "Your card was declined: unknown test card."}
}

func cardDigits(number string) string {
	return strings.NewReplacer(" ", "", "-", "").Replace(number)
}

var (
	numberPattern = regexp.MustCompile(`^[0-9]{12,19}$`)
	expiryPattern = regexp.MustCompile(`^ *(0?[1-9]|1[0-2]) */ *([0-9]{2}|[0-9]{4}) *$`)
	cvvPattern    = regexp.MustCompile(`^ *[0-9]{3,4} *$`)
)

// maxCardYears is how far ahead an expiry date can lie and make sense.
const maxCardYears = 50

// expiryProblem returns what is wrong with an expiry date, or nothing. A card
// is good until the end of its month.
func expiryProblem(text string, now time.Time) string {
	m := expiryPattern.FindStringSubmatch(text)
	if m == nil {
		return "Enter the expiry date as MM/YY, for example 12/34."
	}
	month, monthErr := strconv.Atoi(m[1])
	year, yearErr := strconv.Atoi(m[2])
	if monthErr != nil || yearErr != nil {
		return "Enter the expiry date as MM/YY, for example 12/34."
	}
	if len(m[2]) == 2 {
		year += now.Year() / 100 * 100
	}
	end := time.Date(year, time.Month(month)+1, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case !now.Before(end):
		return "The card has expired."
	case year > now.Year()+maxCardYears:
		return "The expiry date is too far ahead."
	}
	return ""
}
