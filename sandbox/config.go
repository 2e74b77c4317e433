package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Credentials that a sandbox accepts unless Config names others.
// [authentication]
const (
	DefaultAPIKey    = "bk_test_sandbox"
	DefaultAPISecret = "bs_test_sandbox"
)

// Values of Config.SettleAfter with a meaning of their own.
const (
	// SettleAtOnce completes a local payment before the customer is sent back.
	SettleAtOnce time.Duration = -1
	// SettleByHand leaves every local payment open until CompleteCollection,
	// FailCollection or ExpireCollection is called.
	SettleByHand time.Duration = math.MaxInt64
)

// Scheme says which bytes a webhook's signature covers.
type Scheme string

// The two schemes that payment providers use. Which one is Axra's is not
// documented. [manage/webhooks]
const (
	// SchemeBody signs the raw body.
	SchemeBody Scheme = "body"
	// SchemeTimestampBody signs "<unix seconds>.<body>" and sends the seconds in
	// Config.TimestampHeader.
	SchemeTimestampBody Scheme = "timestamp.body"
)

// Config says how a Sandbox behaves. The zero value is usable.
type Config struct {
	// BaseURL is the public address of the sandbox without a path, such as
	// "http://localhost:8403". Checkout URLs start with it, and its host is
	// accepted in the Host header beside localhost and loopback addresses. When
	// it is empty, checkout URLs start with the address that the API was called at.
	BaseURL string

	// APIKey and APISecret are the credentials that the API accepts. They default
	// to DefaultAPIKey and DefaultAPISecret.
	APIKey, APISecret string

	// WebhookSecret signs webhooks. It defaults to APISecret, because Axra uses
	// one credential for both. [authentication]
	WebhookSecret string

	// WebhookURL is where webhooks go until PUT /business/config names another
	// address. While there is none, deliveries are recorded as unsent.
	WebhookURL string

	// Now is the clock for expiry times and timestamps. It defaults to time.Now.
	// Delays between deliveries and SettleAfter pass in real time.
	Now func() time.Time

	// RetryDelays are the pauses between the attempts of one delivery; the last
	// one repeats. The default is 1 s, 2 s, 5 s, 10 s, 30 s, 60 s. Axra's own
	// schedule is not documented.
	RetryDelays []time.Duration

	// MaxAttempts is how often a delivery is tried before it is given up. It
	// defaults to 200.
	MaxAttempts int

	// SettleAfter is how long a payment in a local currency stays in processing.
	// It defaults to 8 s; see also SettleAtOnce and SettleByHand.
	// [payments/local-rails-checkout]
	SettleAfter time.Duration

	// StateFile is the path of a JSON file in which sessions, payments,
	// collections, deliveries and the webhook settings survive a restart. It is
	// replaced atomically, shortly after a change and on Close. When it is empty,
	// nothing is kept.
	StateFile string

	// Client sends webhooks. The default has a timeout of 10 s and follows no
	// redirect.
	Client *http.Client

	// SignatureHeader carries the signature. It defaults to "x-axra-signature".
	SignatureHeader string

	// SignatureScheme says what is signed. It defaults to SchemeBody.
	SignatureScheme Scheme

	// SignaturePrefix puts "sha256=" before the signature's hex digits.
	SignaturePrefix bool

	// TimestampHeader carries the Unix time that SchemeTimestampBody signs. It
	// defaults to "x-axra-timestamp".
	TimestampHeader string

	// BareResponses makes the API answer the bare object, as Axra's guides show
	// it, instead of {"success":true,"data":{…}}, as the API reference does.
	BareResponses bool

	// BareAftermath leaves the metadata and the session id out of the events that
	// follow a payment (settled, refunded, disputed and the dispute's outcome).
	// Whether Axra repeats them there is not documented. [manage/disputes]
	BareAftermath bool

	// LowercaseCurrency writes the currency in events in lower case. Axra's
	// documentation shows both; the default is upper case. [manage/webhooks]
	LowercaseCurrency bool

	// CancelCloses ends a session when its customer presses "Cancel". By default
	// it stays open and can still be paid.
	CancelCloses bool

	// Keep is how many sessions, payments, collections and deliveries, each, are
	// remembered; the oldest are forgotten. It defaults to 10,000.
	Keep int

	// Logger receives one line per thing that happens. It never sees a credential
	// or a checkout token. By default nothing is logged.
	Logger *slog.Logger
}

const (
	defaultKeep        = 10_000
	defaultMaxAttempts = 200
	defaultSettleAfter = 8 * time.Second
	deliveryTimeout    = 10 * time.Second
)

func (c Config) withDefaults() (Config, error) {
	var err error
	if c.BaseURL, err = cleanBaseURL(c.BaseURL); err != nil {
		return c, err
	}
	if c.WebhookURL != "" {
		if err := checkURL(c.WebhookURL); err != nil {
			return c, fmt.Errorf("webhook URL: %w", err)
		}
	}
	c.APIKey = or(c.APIKey, DefaultAPIKey)
	c.APISecret = or(c.APISecret, DefaultAPISecret)
	c.WebhookSecret = or(c.WebhookSecret, c.APISecret)
	c.SignatureHeader = or(c.SignatureHeader, "x-axra-signature")
	c.TimestampHeader = or(c.TimestampHeader, "x-axra-timestamp")
	c.SignatureScheme = or(c.SignatureScheme, SchemeBody)
	if c.SignatureScheme != SchemeBody && c.SignatureScheme != SchemeTimestampBody {
		return c, fmt.Errorf("signature scheme %q: %w", c.SignatureScheme, ErrInvalid)
	}
	c.MaxAttempts = or(c.MaxAttempts, defaultMaxAttempts)
	c.SettleAfter = or(c.SettleAfter, defaultSettleAfter)
	c.Keep = or(c.Keep, defaultKeep)
	if c.Keep < 0 || c.MaxAttempts < 0 {
		return c, fmt.Errorf("negative limit: %w", ErrInvalid)
	}
	if len(c.RetryDelays) == 0 {
		c.RetryDelays = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Client == nil {
		c.Client = newDeliveryClient()
	}
	return c, nil
}

// newDeliveryClient has a transport of its own, so that Close can end its
// connections without touching anybody else's.
func newDeliveryClient() *http.Client {
	transport := http.DefaultTransport
	if t, ok := transport.(*http.Transport); ok {
		transport = t.Clone()
	}
	return &http.Client{
		Transport:     transport,
		Timeout:       deliveryTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func cleanBaseURL(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	raw = strings.TrimSuffix(raw, "/")
	if err := checkURL(raw); err != nil {
		return "", fmt.Errorf("base URL: %w", err)
	}
	if u, err := url.Parse(raw); err != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("base URL %q must be a scheme and a host only: %w", raw, ErrInvalid)
	}
	return raw, nil
}

// checkURL accepts absolute http and https URLs.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.Join(ErrInvalid, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return fmt.Errorf("%q is not an absolute http or https URL: %w", raw, ErrInvalid)
	}
	return nil
}

// or returns value, or the fallback when value is its type's zero.
func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
