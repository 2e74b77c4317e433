package paywall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

// Webhook receives Axra's events. It verifies the signature over the raw bytes,
// stores what the event states, and only then answers 200; on any doubt it
// answers 5xx, so that Axra sends the event again. In a Caddyfile it is the
// directive `axra_webhook`.
type Webhook struct {
	// MatchersRaw says which requests are deliveries; the others go on to the next
	// handler. Without it, every request that reaches the handler is one. A Caddyfile puts
	// the directive's matcher here, so that the sites' other requests have no route more
	// to pass; on the route it works as well.
	MatchersRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// KeepRefused keeps the last request that was refused for its signature, for
	// `caddy axra webhook refused`: one that could be signed, and one that carries
	// nothing like a signature, each with at most 64 KB of body. They stay in memory
	// until others come, Caddy stops, or a configuration is loaded in which no webhook
	// keeps them; headers with credentials are masked, but what an event says about a
	// customer is kept. The default is to keep nothing.
	KeepRefused bool `json:"keep_refused,omitempty"`

	app     *App
	logger  *zap.Logger
	matcher gate.FastMatcher
}

// Limits of a webhook.
const (
	maxBody      = 64 << 10
	bodyTimeout  = 10 * time.Second
	storeTimeout = 20 * time.Second
)

// Provision refuses a webhook that could not verify anything.
func (h *Webhook) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	loaded, err := ctx.LoadModule(h, "MatchersRaw") // before the app, see appFrom
	if err != nil {
		return fmt.Errorf("axra_webhook: loading matchers: %w", err)
	}
	var sets caddyhttp.MatcherSets
	if err := sets.FromInterface(loaded); err != nil {
		return fmt.Errorf("axra_webhook: loading matchers: %w", err)
	}
	h.matcher = gate.NewFastMatcher(sets)
	if h.app, err = appFrom(ctx, "axra_webhook"); err != nil {
		return err
	}
	if len(h.app.verifier.Secrets) == 0 {
		return errors.New("axra_webhook: the global option axra has no webhook_secret, so no event could be verified: " +
			"add `webhook_secret {env.AXRA_WEBHOOK_SECRET}`")
	}
	if h.KeepRefused {
		h.app.keepsRefused.Store(true)
	}
	return nil
}

func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if len(h.matcher.Sets()) > 0 {
		if match, err := h.matcher.Match(r); err != nil || !match {
			if err != nil {
				return err
			}
			return next.ServeHTTP(w, r)
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	status, outcome, name := h.receive(w, r)
	countEvent(name, outcome)
	if status >= 500 {
		w.Header().Set("Retry-After", "10")
	}
	w.WriteHeader(status)
	return nil
}

// receive returns the answer to one delivery, and the event and outcome to count.
func (h *Webhook) receive(w http.ResponseWriter, r *http.Request) (status int, outcome string, name webhook.Type) {
	if r.Header.Get(h.app.verifier.Header) == "" {
		err := fmt.Errorf("%w: header %s is missing", webhook.ErrSignature, h.app.verifier.Header)
		h.refuse(&h.app.complainUnsigned, rejectedUnsigned, err)
		h.keepUnread(w, r, err)
		return http.StatusUnauthorized, "unsigned", ""
	}
	body, status := readBody(w, r)
	if status != http.StatusOK {
		return status, "unreadable", ""
	}
	if err := h.app.verifier.Verify(r.Header, body); err != nil {
		h.refuse(&h.app.complainSignature, rejectedSignature, err)
		h.keep(r, body, err)
		return http.StatusUnauthorized, "unsigned", ""
	}
	event, err := webhook.Decode(body)
	if err != nil {
		h.refuse(&h.app.complainMalformed, "", err)
		return http.StatusBadRequest, "malformed", ""
	}
	// The sender may hang up and the configuration may be reloaded; what is
	// verified is stored all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
	defer cancel()
	outcome, err = h.app.take(ctx, event)
	if err != nil {
		ledgerErrors.WithLabelValues(operationWrite).Inc()
		h.app.store.errors.complain(h.logger, "a verified event could not be stored; Axra is asked to send it again",
			zap.String("event", string(event.Type)), zap.String("session", webhook.ShortID(event.Session)),
			zap.String("payment", webhook.ShortID(event.Payment)), zap.Error(err))
		return http.StatusServiceUnavailable, "not_stored", event.Type
	}
	return http.StatusOK, outcome, event.Type
}

// refuse tells the operator, of each kind once a minute: junk must not hide a
// signature that does not fit. reason is that of an event, if there is to be one.
func (h *Webhook) refuse(sometimes *rate.Sometimes, reason string, err error) {
	sometimes.Do(func() {
		h.logger.Warn("a webhook was refused", zap.Error(err))
		if reason != "" {
			h.app.announceRejected(ledger.Payment{}, reason)
		}
	})
}

// readBody reads at most maxBody within bodyTimeout.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, int) {
	if r.ContentLength > maxBody {
		return nil, http.StatusRequestEntityTooLarge
	}
	controller := http.NewResponseController(w)
	deadline := time.Now().Add(bodyTimeout)
	limited := controller.SetReadDeadline(deadline) == nil
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, http.StatusRequestEntityTooLarge
	case err != nil:
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close")
		}
		return nil, http.StatusRequestTimeout
	}
	if limited {
		_ = controller.SetReadDeadline(time.Time{})
	}
	return body, http.StatusOK
}

// take draws the consequence of a verified event and says how to count it. An
// error means that nothing may be acknowledged.
func (a *App) take(ctx context.Context, event webhook.Event) (outcome string, err error) {
	if !event.Type.Known() {
		return "unknown", nil
	}
	if !a.keysReady(ctx) {
		// Without the installation's id nobody can say whether the event is ours.
		return "", errors.New("the signing keys are not loaded yet")
	}
	if a.isForeign(event) {
		return "foreign", nil
	}
	switch event.Type {
	case webhook.PaymentCompleted, webhook.LinkSessionCompleted:
		return a.takeCompleted(ctx, event)
	case webhook.PaymentRefunded:
		return a.takeEvent(ctx, event, ledger.EventRefunded)
	case webhook.PaymentDisputed:
		return a.takeEvent(ctx, event, ledger.EventDisputed)
	case webhook.DisputeWon:
		return a.takeEvent(ctx, event, ledger.EventDisputeWon)
	case webhook.DisputeLost:
		return a.takeEvent(ctx, event, ledger.EventDisputeLost)
	case webhook.PaymentFailed, webhook.CollectionFailed, webhook.CollectionExpired:
		a.note(event, failed)
	case webhook.CollectionCompleted:
		a.note(event, processing)
		return "noted", a.takeIDs(ctx, event)
	case webhook.CollectionCreated, webhook.CollectionProcessing:
		a.note(event, processing)
	}
	return "noted", nil
}

// isForeign reports whether an event is known to be about a session that another
// program or another installation created. A refund or a dispute without our
// metadata is not: whether such events repeat it is not documented, and a record
// too many costs less than a refund that is not heeded.
func (a *App) isForeign(event webhook.Event) bool {
	installation, ours := event.Metadata[terms.MetadataPrefix+"installation"]
	if ours {
		return installation != a.keyring.Installation()
	}
	return event.Type.Completes()
}

func (a *App) takeCompleted(ctx context.Context, event webhook.Event) (string, error) {
	sold, err := terms.FromMetadata(event.Metadata)
	if err != nil || event.Session == "" {
		a.logger.Error("a payment was completed whose metadata cannot be read; it opens nothing",
			zap.String("session", webhook.ShortID(event.Session)), zap.String("payment", webhook.ShortID(event.Payment)), zap.Error(err))
		a.announceRejected(ledger.Payment{SessionID: event.Session, PaymentIDs: event.PaymentIDs, Paid: event.Paid}, rejectedMetadata)
		return "malformed", nil
	}
	if a.mayBeSwept(event.Timestamp) {
		a.logger.Error("an event is older than purchases are kept; it opens nothing",
			zap.String("session", webhook.ShortID(event.Session)), zap.Time("stated", event.Timestamp))
		return "stale", nil
	}
	payment := ledger.Payment{
		SessionID: event.Session, PaymentIDs: event.PaymentIDs, Source: ledger.FromAxra, Terms: sold,
		Paid: event.Paid, PaidRaw: event.PaidRaw, PaidAt: event.Timestamp, Metadata: ownMetadata(event.Metadata),
		Mismatch: event.AmountError != nil || !sold.Price.CoveredBy(event.Paid),
	}
	recorded, err := a.ledger.RecordPayment(ctx, payment)
	if err != nil {
		return "", err
	}
	a.store.stages.Invalidate(event.Session)
	switch {
	case recorded.DoubleCharge && recorded.New:
		a.logger.Error("a checkout session was charged twice; refund one of the payments in Axra",
			zap.String("purchase", ledger.Reference(recorded.Purchase.ID)), zap.String("payment", webhook.ShortID(event.Payment)))
		return "double_charge", nil
	case payment.Mismatch:
		a.reportMismatch(recorded, payment, event.AmountError)
		return outcomeMismatch, nil
	case !recorded.New:
		return "known", nil
	}
	a.reportPaid(recorded, payment)
	return "paid", nil
}

// mayBeSwept reports whether what an event of a time was about may have been deleted since. Sent again, it
// must not give access anew.
func (a *App) mayBeSwept(stated time.Time) bool {
	return a.Keep > 0 && stated.After(noSalesBefore) && now().Sub(stated) > time.Duration(a.Keep)
}

// noSalesBefore is when there was no such plugin yet: an earlier time comes from a wrong clock.
var noSalesBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// ownMetadata is what the site's owner has added to a checkout session.
func ownMetadata(all map[string]string) map[string]string {
	own := make(map[string]string)
	for name, value := range all {
		if name != "sessionId" && !strings.HasPrefix(name, terms.MetadataPrefix) {
			own[name] = value
		}
	}
	return own
}

func (a *App) reportPaid(recorded ledger.Recorded, payment ledger.Payment) {
	purchase := recorded.Purchase
	fields := []zap.Field{
		zap.String("purchase", ledger.Reference(purchase.ID)), zap.String("payment", webhook.ShortID(firstOf(payment.PaymentIDs))),
		zap.String("pass", purchase.Product), zap.Stringer("price", payment.Terms.Price),
	}
	if purchase.Status == ledger.Revoked {
		// The money has come, so the payment stands; what is told is for the operator.
		a.logger.Error("a payment extends a purchase that was revoked; it opens nothing", fields...)
		a.announceRejected(payment, rejectedRevoked)
	} else {
		a.logger.Info("payment completed", fields...)
	}
	a.announcePaid(purchase, payment)
}

func (a *App) reportMismatch(recorded ledger.Recorded, payment ledger.Payment, reason error) {
	if !recorded.New {
		return
	}
	a.logger.Error("a payment was completed in another amount or currency than asked; it opens nothing",
		zap.String("purchase", ledger.Reference(recorded.Purchase.ID)), zap.String("payment", webhook.ShortID(firstOf(payment.PaymentIDs))),
		zap.String("pass", payment.Terms.Pass), zap.Stringer("price", payment.Terms.Price), zap.String("paid", payment.PaidRaw), zap.Error(reason))
	a.announceRejected(payment, rejectedAmount)
}

func firstOf(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}

func (a *App) takeEvent(ctx context.Context, event webhook.Event, kind ledger.EventKind) (string, error) {
	if event.Session == "" && len(event.PaymentIDs) == 0 {
		a.logger.Error("an event names neither a session nor a payment; it changes nothing", zap.String("event", string(event.Type)))
		return "unmatched", nil
	}
	recorded, err := a.ledger.RecordEvent(ctx, ledger.Event{
		Kind: kind, SessionID: event.Session, PaymentIDs: event.PaymentIDs, OccurredAt: event.Timestamp,
	})
	if err != nil {
		return "", err
	}
	if !recorded.New {
		return "known", nil
	}
	a.logger.Info("payment outcome", zap.String("outcome", string(kind)),
		zap.String("purchase", ledger.Reference(recorded.Purchase.ID)), zap.String("payment", webhook.ShortID(event.Payment)))
	a.announceEvent(kind, event, recorded)
	return string(kind), nil
}

// takeIDs stores the ids under which a collection knows a session's payment: a later refund may name any of
// them (Axra, payments/local-rails-api). It opens nothing.
func (a *App) takeIDs(ctx context.Context, event webhook.Event) error {
	if event.Session == "" || len(event.PaymentIDs) == 0 {
		return nil
	}
	_, err := a.ledger.RecordEvent(ctx, ledger.Event{
		Kind: ledger.EventCollected, SessionID: event.Session, PaymentIDs: event.PaymentIDs, OccurredAt: event.Timestamp,
	})
	return err
}

// note remembers what Axra said about a session that is not paid, for the visitor
// who waits for it. It is kept in bounded memory: an unpaid session costs no
// storage.
func (a *App) note(event webhook.Event, stage stage) {
	if event.Session == "" {
		return
	}
	said := progress{stage: stage, at: event.Timestamp.Truncate(time.Millisecond)}
	if said.at.IsZero() {
		said.at = now()
	}
	if known, ok := a.store.stages.GetIfPresent(event.Session); ok && known.at.After(said.at) {
		return // events come in any order
	}
	a.store.stages.Set(event.Session, &said)
}

// progress is what Axra last said about a session that is not paid.
type progress struct {
	stage stage
	at    time.Time // as Axra states it
}

type stage string

const (
	failed     stage = "failed"
	processing stage = "processing"
)

// stageOf is what a visitor may be told about a checkout that is not paid. A
// failure from before the return was an earlier attempt in the same checkout,
// which a successful one followed.
func (a *App) stageOf(entry session.Pending) stage {
	said, ok := a.store.stages.GetIfPresent(entry.Session)
	if !ok || said.stage == failed && entry.State == session.Returned && !said.at.After(entry.ReturnedAt) {
		return ""
	}
	return said.stage
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Webhook)(nil)
	_ caddyhttp.MiddlewareHandler = (*Webhook)(nil)
)
