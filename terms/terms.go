// Package terms holds the terms of a checkout session: which pass it sells, for which
// resource, at what price, for how long. The terms travel in the session's metadata and
// come back in the signed webhook, so they are honoured even if the configuration has
// changed by then.
package terms

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/money"
)

// MetadataPrefix marks the metadata keys of the paywall. A site owner's metadata may not
// use it.
const MetadataPrefix = "paywall_"

const (
	version = "1"

	keyVersion      = MetadataPrefix + "v"
	keyInstallation = MetadataPrefix + "installation"
	keySite         = MetadataPrefix + "site"
	keyPass         = MetadataPrefix + "pass"
	keyResource     = MetadataPrefix + "resource"
	keyAmount       = MetadataPrefix + "amount"
	keyCurrency     = MetadataPrefix + "currency"
	keyAccess       = MetadataPrefix + "access"
	keyDownloads    = MetadataPrefix + "downloads"
	keyDevices      = MetadataPrefix + "devices"
	keyExtends      = MetadataPrefix + "extends"
	keyFrom         = MetadataPrefix + "from"
	keyClaim        = MetadataPrefix + "claim"
)

// claimFirst is the only value of keyClaim.
const claimFirst = "first"

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

// Metadata returns the terms as flat strings for Axra's create call.
func (t Terms) Metadata() map[string]string {
	metadata := map[string]string{
		keyVersion:      version,
		keyInstallation: t.Installation,
		keySite:         t.Site,
		keyPass:         t.Pass,
		keyResource:     t.Resource,
		keyAccess:       t.Access.String(),
	}
	if t.Price.Currency != "" {
		metadata[keyAmount], metadata[keyCurrency] = t.Price.Digits(), t.Price.Currency
	}
	if t.Downloads != 0 {
		metadata[keyDownloads] = strconv.Itoa(t.Downloads)
	}
	if t.Devices != 0 {
		metadata[keyDevices] = strconv.Itoa(t.Devices)
	}
	if t.Claim {
		metadata[keyClaim] = claimFirst
	}
	if t.Extends != "" {
		metadata[keyExtends] = t.Extends
	}
	if !t.From.IsZero() {
		metadata[keyFrom] = t.From.UTC().Format(time.RFC3339)
	}
	return metadata
}

// FromMetadata reads the terms back from an event. The error wraps ErrForeign
// or ErrMalformed.
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

// Unpriced reads terms without their price, for access that was given away. Do not use it
// for events.
func Unpriced(metadata map[string]string) (Terms, error) {
	switch metadata[keyVersion] {
	case version:
	case "":
		return Terms{}, ErrForeign
	default:
		return Terms{}, fmt.Errorf("%w: version %q", ErrMalformed, metadata[keyVersion])
	}
	t := Terms{
		Installation: metadata[keyInstallation],
		Site:         metadata[keySite],
		Pass:         metadata[keyPass],
		Resource:     metadata[keyResource],
		Claim:        metadata[keyClaim] == claimFirst,
	}
	for name, value := range map[string]string{
		keyInstallation: t.Installation, keySite: t.Site, keyPass: t.Pass, keyResource: t.Resource,
	} {
		if strings.TrimSpace(value) == "" {
			return Terms{}, fmt.Errorf("%w: %s is empty", ErrMalformed, name)
		}
	}
	var err error
	if t.Access, err = ParseAccess(metadata[keyAccess]); err != nil {
		return Terms{}, err
	}
	if t.Downloads, err = count(metadata, keyDownloads); err != nil {
		return Terms{}, err
	}
	if t.Devices, err = count(metadata, keyDevices); err != nil {
		return Terms{}, err
	}
	if t.Extends, t.From, err = extension(metadata); err != nil {
		return Terms{}, err
	}
	return t, nil
}

// count reads a number that may be absent. It accepts every spelling of the number, since
// a payment whose terms are rejected opens nothing.
func count(metadata map[string]string, name string) (int, error) {
	text, ok := metadata[name]
	if !ok {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxCount {
		return 0, fmt.Errorf("%w: %s is %.40q", ErrMalformed, name, text)
	}
	return n, nil
}

// extension reads which purchase is extended, and from when. It rejects one without the
// other, which would leave the end of access unknown.
func extension(metadata map[string]string) (session string, from time.Time, err error) {
	session = metadata[keyExtends]
	text := metadata[keyFrom]
	switch {
	case session == "" && text == "":
		return "", time.Time{}, nil
	case session == "":
		return "", time.Time{}, fmt.Errorf("%w: %s without %s", ErrMalformed, keyFrom, keyExtends)
	case len(session) > maxExtends:
		return "", time.Time{}, fmt.Errorf("%w: %s has %d bytes", ErrMalformed, keyExtends, len(session))
	}
	from, err = time.Parse(time.RFC3339, text)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("%w: %s is %.40q", ErrMalformed, keyFrom, text)
	}
	from = from.UTC().Truncate(time.Second)
	if from.IsZero() {
		// The zero time means that nothing is extended.
		return "", time.Time{}, fmt.Errorf("%w: %s is no time", ErrMalformed, keyFrom)
	}
	return session, from, nil
}
