package paywall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

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

	app      *App
	logger   *zap.Logger
	matchers caddyhttp.MatcherSets
	quickly  quickMatcher // the matchers, for what is as plain as most
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
	if err := h.matchers.FromInterface(loaded); err != nil {
		return fmt.Errorf("axra_webhook: loading matchers: %w", err)
	}
	h.quickly = newQuickMatcher(h.matchers)
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
	if len(h.matchers) > 0 {
		if match, err := h.quickly.matches(r); err != nil || !match {
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
		h.logger.Error("a verified event could not be stored; Axra is asked to send it again",
			zap.String("event", string(event.Type)), zap.String("session", shorten(event.Session)),
			zap.String("payment", shorten(event.Payment)), zap.Error(err))
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
			h.app.announceRejected(ledger.Fact{}, reason)
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
		return a.takeOutcome(ctx, event, ledger.Refunded)
	case webhook.PaymentDisputed:
		return a.takeOutcome(ctx, event, ledger.Disputed)
	case webhook.DisputeWon:
		return a.takeOutcome(ctx, event, ledger.DisputeWon)
	case webhook.DisputeLost:
		return a.takeOutcome(ctx, event, ledger.DisputeLost)
	case webhook.PaymentFailed, webhook.CollectionFailed, webhook.CollectionExpired:
		a.note(event, failed)
	case webhook.CollectionCreated, webhook.CollectionProcessing, webhook.CollectionCompleted:
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
			zap.String("session", shorten(event.Session)), zap.String("payment", shorten(event.Payment)), zap.Error(err))
		a.announceRejected(ledger.Fact{Session: event.Session, Payment: event.Payment, Paid: event.Paid}, rejectedMetadata)
		return "malformed", nil
	}
	at, err := a.happened(ctx, event.Timestamp)
	if err != nil {
		return "", err
	}
	fact := ledger.Fact{
		Kind: ledger.Paid, Session: event.Session, Payment: event.Payment,
		At: at, Terms: sold, Paid: event.Paid,
	}
	if event.AmountError != nil || !sold.Price.CoveredBy(event.Paid) {
		return a.takeMismatch(ctx, fact, event.AmountError)
	}
	fresh, err := a.ledger.Record(ctx, fact)
	// Also after an error: part of it may have been stored.
	a.shared.heard.payment(fact.Session)
	if sold.Extends != "" {
		a.shared.heard.payment(sold.Extends)
	}
	if err != nil {
		return "", err
	}
	a.shared.progress.Invalidate(event.Session)
	if !fresh {
		return "known", nil
	}
	if sold.Extends != "" {
		a.tellRevoked(ctx, fact)
	}
	a.logger.Info("payment completed", zap.String("session", shorten(fact.Session)),
		zap.String("payment", shorten(fact.Payment)), zap.String("pass", sold.Pass), zap.Stringer("price", sold.Price))
	a.afterPaid(ctx, fact)
	return "paid", nil
}

// tellRevoked speaks up where more time was paid for what had been revoked meanwhile. The
// money has come, so the fact stands; what is told is for the operator.
func (a *App) tellRevoked(ctx context.Context, fact ledger.Fact) {
	grant, err := a.ledger.Grant(ctx, fact.Session)
	if err != nil || grant.ClosedFor != ledger.Revoked {
		return
	}
	a.logger.Error("a payment extends a purchase that was revoked; it opens nothing",
		zap.String("session", shorten(fact.Session)), zap.String("payment", shorten(fact.Payment)),
		zap.String("pass", fact.Terms.Pass), zap.Stringer("price", fact.Terms.Price))
	a.announceRejected(fact, rejectedRevoked)
}

func (a *App) takeMismatch(ctx context.Context, fact ledger.Fact, reason error) (string, error) {
	fact.Kind = ledger.Mismatch
	fresh, err := a.ledger.Record(ctx, fact)
	if err != nil || !fresh {
		return "mismatch", err
	}
	a.logger.Error("a payment was completed in another amount or currency than asked; it opens nothing",
		zap.String("session", shorten(fact.Session)), zap.String("payment", shorten(fact.Payment)),
		zap.String("pass", fact.Terms.Pass), zap.Stringer("price", fact.Terms.Price), zap.Stringer("paid", fact.Paid), zap.Error(reason))
	a.announceRejected(fact, rejectedAmount)
	return "mismatch", nil
}

func (a *App) takeOutcome(ctx context.Context, event webhook.Event, kind ledger.Kind) (string, error) {
	if event.Session == "" && event.Payment == "" {
		a.logger.Error("an event names neither a session nor a payment; it changes nothing", zap.String("event", string(event.Type)))
		return "unmatched", nil
	}
	at, err := a.happened(ctx, event.Timestamp)
	if err != nil {
		return "", err
	}
	fresh, err := a.ledger.Record(ctx, ledger.Fact{Kind: kind, Session: event.Session, Payment: event.Payment, At: at})
	if err != nil {
		return "", err
	}
	if !fresh {
		return "known", nil
	}
	a.logger.Info("payment outcome", zap.String("outcome", string(kind)),
		zap.String("session", shorten(event.Session)), zap.String("payment", shorten(event.Payment)))
	a.afterOutcome(ctx, kind, event)
	return string(kind), nil
}

// prompt is how old an event may be to count from the time that it states.
const prompt = 5 * time.Minute

// happened is when access begins: at the payment, or, where the event comes late
// or states no believable time, now. Nobody loses time that they paid for to a
// webhook that was delayed. Nobody gains any by one that is sent again after what it was
// about has been swept. An event that states no time at all cannot be told from a new one.
func (a *App) happened(ctx context.Context, stated time.Time) (time.Time, error) {
	at := now()
	age := at.Sub(stated)
	if stated.IsZero() || age < -prompt {
		return at, nil
	}
	if age <= prompt {
		return stated, nil
	}
	swept, err := a.maySweep(ctx, stated)
	if err != nil || swept {
		return stated, err
	}
	return at, nil
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
	if known, ok := a.shared.progress.GetIfPresent(event.Session); ok && known.at.After(said.at) {
		return // events come in any order
	}
	a.shared.progress.Set(event.Session, &said)
}

// stageOf is what a visitor may be told about a checkout that is not paid. A
// failure from before the return was an earlier attempt in the same checkout,
// which a successful one followed.
func (a *App) stageOf(entry session.Pending) stage {
	said, ok := a.shared.progress.GetIfPresent(entry.Session)
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
