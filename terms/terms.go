// Package terms holds the terms of a checkout session: which pass it sells, for which resource, at what price, for how
// long. The terms travel in the metadata and come back in the signed webhook, so they are honoured whatever the
// configuration says by then.
package terms

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/money"
)

// MetadataPrefix marks the metadata keys of the paywall. A site owner's metadata may not use it.
const MetadataPrefix = "paywall_"

const (
	version = "1"

	keyVersion  = MetadataPrefix + "v"
	keyAmount   = MetadataPrefix + "amount"
	keyCurrency = MetadataPrefix + "currency"
	keyAccess   = MetadataPrefix + "access"
	keyClaim    = MetadataPrefix + "claim" // claimFirst or absent
	keyExtends  = MetadataPrefix + "extends"
	keyFrom     = MetadataPrefix + "from"

	claimFirst = "first"
)

// Bounds of what may be sold.
const (
	maxCount   = 1_000_000
	maxExtends = 256 // bytes
)

// Errors of FromMetadata.
var (
	// ErrForeign means that the metadata does not come from a paywall.
	ErrForeign = errors.New("metadata of another program")
	// ErrMalformed means that it comes from a paywall, but this version cannot read it.
	ErrMalformed = errors.New("malformed paywall metadata")
)

// Terms is what one checkout session sells.
type Terms struct {
	Installation string      // the keyring's installation id; several may share one Axra business
	Site         string      // origin of the site: "https://example.com"
	Pass         string      // name of the pass
	Resource     string      // what the purchase opens within the pass; "*" is everything
	Price        money.Price // what was asked
	Access       Access      // how long access lasts from the payment
	Downloads    int         // how often the purchase may be downloaded; 0: not limited
	Devices      int         // on how many devices it may be used; 0: not stated
	Claim        bool        // another browser may take the purchase by the session's id, once
	Extends      string      // session whose purchase this one extends; "" for none
	// From is the end of the extended access when this was sold, in whole seconds UTC; zero without Extends. It counts
	// only if the extended purchase cannot be found or extended.
	From time.Time
}

// AllPaths is the resource of a purchase that opens everything in its pass.
const AllPaths = "*"

// Access is how long access lasts.
type Access time.Duration

// Forever is access with no expiry.
const Forever Access = -1

// Until returns when access ends that begins at start; the zero time for Forever.
func (a Access) Until(start time.Time) time.Time {
	if a == Forever {
		return time.Time{}
	}
	return start.Add(time.Duration(a))
}

// Length is the access as a duration, negative for Forever.
func (a Access) Length() time.Duration { return time.Duration(a) }

// String returns "forever" or whole seconds, as in metadata.
func (a Access) String() string {
	if a == Forever {
		return "forever"
	}
	return strconv.FormatInt(int64(time.Duration(a)/time.Second), 10)
}

// ParseAccess reads the result of String. It refuses lengths of zero or less.
func ParseAccess(s string) (Access, error) {
	if s == "forever" {
		return Forever, nil
	}
	seconds, err := strconv.ParseInt(s, 10, 64)
	if err != nil || seconds <= 0 || seconds > int64(1<<63-1)/int64(time.Second) {
		return 0, fmt.Errorf("access %q: %w", s, ErrMalformed)
	}
	return Access(time.Duration(seconds) * time.Second), nil
}

// texts are the terms that metadata holds as they are.
func (t *Terms) texts() map[string]*string {
	return map[string]*string{
		MetadataPrefix + "installation": &t.Installation, MetadataPrefix + "site": &t.Site, MetadataPrefix + "pass": &t.Pass,
		MetadataPrefix + "resource": &t.Resource, keyExtends: &t.Extends,
	}
}

// counts are the numbers that metadata may hold.
func (t *Terms) counts() map[string]*int {
	return map[string]*int{MetadataPrefix + "downloads": &t.Downloads, MetadataPrefix + "devices": &t.Devices}
}

// Metadata returns the terms as flat strings for Axra's create call.
func (t Terms) Metadata() map[string]string {
	metadata := map[string]string{keyVersion: version, keyAccess: t.Access.String()}
	for key, text := range t.texts() {
		if *text != "" {
			metadata[key] = *text
		}
	}
	for key, count := range t.counts() {
		if *count != 0 {
			metadata[key] = strconv.Itoa(*count)
		}
	}
	if t.Price.Currency != "" {
		metadata[keyAmount], metadata[keyCurrency] = t.Price.Digits(), t.Price.Currency
	}
	if t.Claim {
		metadata[keyClaim] = claimFirst
	}
	if !t.From.IsZero() {
		metadata[keyFrom] = t.From.UTC().Format(time.RFC3339)
	}
	return metadata
}

// FromMetadata reads the terms back from an event. The error wraps ErrForeign or ErrMalformed.
func FromMetadata(metadata map[string]string) (Terms, error) {
	t, err := Unpriced(metadata)
	if err != nil {
		return Terms{}, err
	}
	if t.Price, err = money.Parse(metadata[keyAmount], metadata[keyCurrency]); err != nil {
		return Terms{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return t, nil
}

// Unpriced reads terms without their price, for access that was given away. Do not use it for events.
func Unpriced(metadata map[string]string) (Terms, error) {
	var t Terms
	if err := t.read(metadata); err != nil {
		return Terms{}, err
	}
	return t, nil
}

func (t *Terms) read(metadata map[string]string) (err error) {
	switch metadata[keyVersion] {
	case version:
	case "":
		return ErrForeign
	default:
		return fmt.Errorf("%w: version %q", ErrMalformed, metadata[keyVersion])
	}
	for key, text := range t.texts() {
		if *text = metadata[key]; strings.TrimSpace(*text) == "" && key != keyExtends {
			return fmt.Errorf("%w: %s is empty", ErrMalformed, key)
		}
	}
	for key, count := range t.counts() {
		// Every spelling of a number is accepted, since a payment whose terms are rejected opens nothing.
		if text, ok := metadata[key]; ok {
			if *count, err = strconv.Atoi(text); err != nil || *count < 0 || *count > maxCount {
				return fmt.Errorf("%w: %s is %.40q", ErrMalformed, key, text)
			}
		}
	}
	t.Claim = metadata[keyClaim] == claimFirst
	if t.Access, err = ParseAccess(metadata[keyAccess]); err != nil || t.Extends == "" && metadata[keyFrom] == "" {
		return err
	}
	// A purchase that is extended from no time, or a time without a purchase, would leave the end of access unknown.
	from, err := time.Parse(time.RFC3339, metadata[keyFrom])
	t.From = from.UTC().Truncate(time.Second)
	if err != nil || t.From.IsZero() || t.Extends == "" || len(t.Extends) > maxExtends {
		return fmt.Errorf("%w: %s %.40q from %.40q", ErrMalformed, keyExtends, t.Extends, metadata[keyFrom])
	}
	return nil
}
