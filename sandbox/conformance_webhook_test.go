package sandbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-axra/paywall/sandbox"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

// How -axra-webhook is verified, as the option signature says it. What is left out is
// the scheme's own default.
var (
	axraSignatureHeader = flag.String("axra-signature-header", "", "with -axra-webhook: `header` of the option signature")
	axraScheme          = flag.String("axra-scheme", "", "with -axra-webhook: `scheme` of the option signature")
	axraTimestampHeader = flag.String("axra-timestamp-header", "", "with -axra-webhook: `timestamp_header` of the option signature")
	axraIDHeader        = flag.String("axra-id-header", "", "with -axra-webhook: `id_header` of the option signature")
	axraSecretEncoding  = flag.String("axra-secret-encoding", "", "with -axra-webhook: `secret_encoding` of the option signature")
)

// delivery is one webhook request as it came, and how it is to be verified.
type delivery struct {
	header   http.Header
	body     []byte
	verifier webhook.Verifier

	event webhook.Event // what the plugin reads in it
	err   error
	whole map[string]json.RawMessage
	data  map[string]json.RawMessage
}

func newDelivery(captured webhook.Captured, v webhook.Verifier) *delivery {
	d := &delivery{header: captured.Header, body: captured.Body, verifier: v}
	d.event, d.err = webhook.Decode(d.body)
	_ = json.Unmarshal(d.body, &d.whole) // what is wrong shows in err
	_ = json.Unmarshal(d.whole["data"], &d.data)
	return d
}

// deliveryAssumptions is what the plugin takes for granted about webhooks.
var deliveryAssumptions = []assumption[*delivery]{
	{"webhook-signature", "the header X-Axra-Signature holds the hex HMAC-SHA256 of the raw body under the webhook secret [unconfirmed]", checkSignature},
	{"webhook-decodes", "the body is an event without JSON's ambiguities", checkDecodes},
	{"webhook-envelope", `the body is {"event", "timestamp" in ISO 8601, "data": {…}} [manage/webhooks]`, whenDecoded(checkEventEnvelope)},
	{"webhook-event", "the event is one of those documented [manage/webhooks, manage/disputes, payments/local-rails-checkout]", whenDecoded(checkEventName)},
	{"webhook-session", "data.metadata holds sessionId beside what was given at creation [manage/webhooks]", whenKnown(checkEventSession)},
	{"webhook-metadata", "the metadata of a gate comes back as it was given [payments/checkout-sessions]", whenKnown(checkEventMetadata)},
	{"webhook-payment", "the payment's id stands in data.paymentId (or id, transactionId) and begins with bpay_ [unconfirmed]", whenKnown(checkEventPayment)},
	{"webhook-amount", "data.amount is in major units and covers what was asked [manage/webhooks]", whenKnown(checkEventAmount)},
	{"webhook-currency", "data.currency is an ISO 4217 code: upper or lower case (compared without case)", whenKnown(checkEventCurrency)},
}

func checkSignature(d *delivery) finding {
	if len(d.verifier.Secrets) == 0 {
		return isNotRun("AXRA_WEBHOOK_SECRET is not set")
	}
	if err := d.verifier.Verify(d.header, d.body); err != nil {
		return isRefuted("try `caddy axra webhook inspect` on the file, or -axra-scheme, -axra-signature-header, -axra-timestamp-header, -axra-id-header and "+
			"-axra-secret-encoding, and write what verifies in the global option axra: `signature { header … scheme … }`",
			"%v; headers that could be it: %s", err, candidates(d.header))
	}
	return isConfirmed("header %s, scheme %s", d.verifier.Header, d.verifier.Scheme)
}

var signatureLike = regexp.MustCompile(`(?i)signature|hmac|digest|timestamp|webhook|axra`)

// candidates names headers, without their values: those are no secrets, but
// nobody needs them in a report.
func candidates(header http.Header) string {
	names := []string{}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if signatureLike.MatchString(name) && len(name) <= 64 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func checkDecodes(d *delivery) finding {
	if d.err != nil {
		return isRefuted(reportIt, "%v", d.err)
	}
	return isConfirmed("%d bytes", len(d.body))
}

// whenDecoded keeps an assumption from being judged by what cannot be read.
func whenDecoded(check func(*delivery) finding) func(*delivery) finding {
	return func(d *delivery) finding {
		if d.err != nil {
			return isNotRun("the event cannot be read")
		}
		return check(d)
	}
}

// whenKnown is for the data, of which nothing is known in other events.
func whenKnown(check func(*delivery) finding) func(*delivery) finding {
	return whenDecoded(func(d *delivery) finding {
		if !d.event.Type.Known() {
			return isNotRun("the event is not one of those documented")
		}
		return check(d)
	})
}

func checkEventEnvelope(d *delivery) finding {
	seen := members(d.whole)
	if d.event.Type == "" || d.event.Timestamp.IsZero() || d.data == nil {
		return isRefuted(reportIt+"; access begins when a webhook without a readable timestamp arrives", "%s", seen)
	}
	return isConfirmed("%s", seen)
}

func checkEventName(d *delivery) finding {
	if !d.event.Type.Known() {
		return isRefuted("report it; the plugin acknowledges and ignores it", "%.60q", d.event.Type)
	}
	return isConfirmed("%s", d.event.Type)
}

// given reports whether the event is one that must carry what was given at
// creation; of the others that is not documented, and either will do.
func (d *delivery) given() bool { return d.event.Type.Completes() }

func checkEventSession(d *delivery) finding {
	id := d.event.Metadata["sessionId"]
	switch {
	case id != "":
		return isConfirmed("%s", idForm(id))
	case !d.given():
		return isNoted("%s has none: it is matched by the payment's id", d.event.Type)
	case d.event.Session != "":
		return isRefuted("nothing: the plugin reads data.sessionId as well", "it stands in data, not in metadata")
	}
	return isRefuted(reportIt, "data %s", members(d.data))
}

func checkEventMetadata(d *delivery) finding {
	_, err := terms.FromMetadata(d.event.Metadata)
	switch {
	case err == nil:
		return isConfirmed("the terms of a gate")
	case d.event.Metadata == nil && !d.given():
		return isNoted("%s has no metadata", d.event.Type)
	case errors.Is(err, terms.ErrForeign):
		return isNotRun("the session was not created by a gate")
	}
	return isRefuted(reportIt, "%v", err)
}

func checkEventPayment(d *delivery) finding {
	for _, name := range []string{"paymentId", "id", "transactionId"} {
		if text(d.data, name) != d.event.Payment || d.event.Payment == "" {
			continue
		}
		if !strings.HasPrefix(d.event.Payment, "bpay_") {
			return isNoted("%s, %s", name, idForm(d.event.Payment))
		}
		return isConfirmed("%s, %s", name, idForm(d.event.Payment))
	}
	if strings.HasPrefix(string(d.event.Type), "collection.") {
		return isNoted("%s has none", d.event.Type)
	}
	return isRefuted(reportIt, "data %s", members(d.data))
}

func text(object map[string]json.RawMessage, name string) string {
	var text string
	_ = json.Unmarshal(object[name], &text) // another type is as good as none
	return text
}

func checkEventAmount(d *delivery) finding {
	if d.event.AmountError != nil || d.event.Paid.Currency == "" {
		return isRefuted(reportIt, "data %s", members(d.data))
	}
	asked, err := terms.FromMetadata(d.event.Metadata)
	switch {
	case err != nil:
		return isNoted("%s; compare it with what was asked", d.event.Paid)
	case !d.given():
		return isNoted("%s, of %s", d.event.Paid, asked.Price)
	case !asked.Price.CoveredBy(d.event.Paid):
		return isRefuted(reportIt, "%s, where %s was asked", d.event.Paid, asked.Price)
	}
	return isConfirmed("%s, as asked", d.event.Paid)
}

var isoCode = regexp.MustCompile(`^[A-Za-z]{3}$`)

func checkEventCurrency(d *delivery) finding {
	code := text(d.data, "currency")
	if !isoCode.MatchString(code) {
		return isRefuted(reportIt, "%.10q", code)
	}
	return isConfirmed("%s", code)
}

// webhookSecrets is what may have signed a delivery: Axra says that the API
// secret is the webhook secret.
func webhookSecrets(getenv func(string) string) [][]byte {
	for _, name := range []string{"AXRA_WEBHOOK_SECRET", "AXRA_API_SECRET"} {
		if secret := getenv(name); secret != "" {
			return [][]byte{[]byte(secret)}
		}
	}
	return nil
}

func (d *delivery) hide(text string) string {
	for _, secret := range append(d.verifier.Secrets, []byte(d.event.Session), []byte(d.event.Payment)) {
		if len(secret) >= 6 {
			text = strings.ReplaceAll(text, string(secret), "…")
		}
	}
	return credential.ReplaceAllString(text, "…")
}

// The deliveries of this package's sandbox, through a file as Axra's would come.
func TestConformanceOfWebhooks(t *testing.T) {
	for name, cfg := range map[string]sandbox.Config{
		"sandbox":                   {},
		"sandbox in lower case":     {LowercaseCurrency: true},
		"sandbox with bare refunds": {BareAftermath: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, raw := range captureDeliveries(t, cfg, webhook.PaymentCompleted, webhook.PaymentRefunded) {
				d := deliveryFrom(t, raw, byDefault)
				t.Run(string(d.event.Type), func(t *testing.T) {
					wantAllConfirmed(t, examine(d, deliveryAssumptions, d.hide))
				})
			}
		})
	}
	if *axraWebhook != "" {
		t.Run("live", testLiveWebhook)
	}
}

func testLiveWebhook(t *testing.T) {
	raw, err := os.ReadFile(*axraWebhook)
	if err != nil {
		t.Fatalf("%v (go test runs in the folder sandbox: give an absolute path)", err)
	}
	verifier := webhook.Verifier{
		Secrets: webhookSecrets(os.Getenv), Header: *axraSignatureHeader, Scheme: *axraScheme,
		TimestampHeader: *axraTimestampHeader, IDHeader: *axraIDHeader, SecretEncoding: *axraSecretEncoding,
	}
	d := deliveryFrom(t, raw, verifier)
	tell(t, examine(d, deliveryAssumptions, d.hide))
}

// byDefault verifies as an option signature that says nothing does.
var byDefault = webhook.Verifier{Secrets: [][]byte{[]byte(sandbox.DefaultAPISecret)}}

// deliveryFrom reads what `caddy axra webhook inspect` reads.
func deliveryFrom(t *testing.T, raw []byte, v webhook.Verifier) *delivery {
	t.Helper()
	v, err := v.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	captured, err := webhook.ReadCaptured(raw)
	if err != nil {
		t.Fatal(err)
	}
	return newDelivery(captured, v)
}

// captureDeliveries sells what a gate sells, refunds it, and returns the
// requests of the named events as they stood on the wire.
func captureDeliveries(t *testing.T, cfg sandbox.Config, want ...webhook.Type) [][]byte {
	t.Helper()
	merchant := &recorder{}
	server := httptest.NewServer(merchant)
	t.Cleanup(server.Close)
	cfg.WebhookURL = server.URL
	sb, at := openSandbox(t, cfg, nil)
	metadata := map[string]string{"campaign": "Łódź"}
	maps.Copy(metadata, gateOrder().Terms.Metadata())
	opened := newAPI(t, at).create(minimal.with("metadata", metadata))
	paid, err := sb.Pay(opened.text("sessionId"), sandbox.PayWith{Card: "4242424242424242"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sb.Refund(paid.PaymentID); err != nil {
		t.Fatal(err)
	}
	if err := sb.Idle(t.Context()); err != nil {
		t.Fatal(err)
	}
	requests := make([][]byte, 0, len(want))
	for _, event := range want {
		requests = append(requests, merchant.request(t, event))
	}
	return requests
}

// recorder keeps webhook requests byte for byte.
type recorder struct {
	mu       sync.Mutex
	requests [][]byte
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	raw, err := httputil.DumpRequest(request, true)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, raw)
}

func (r *recorder) request(t *testing.T, event webhook.Type) []byte {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, raw := range r.requests {
		if bytes.Contains(raw, []byte(`"event":"`+string(event)+`"`)) {
			return raw
		}
	}
	t.Fatalf("no %s came", event)
	return nil
}
