package paywall

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// purchaseInfo is a payment, or what was given, as the admin API tells it.
type purchaseInfo struct {
	Session  string      `json:"session"`
	Payment  string      `json:"payment,omitempty"`
	Site     string      `json:"site"`
	Pass     string      `json:"pass"`
	Resource string      `json:"resource"`
	Amount   json.Number `json:"amount,omitempty"`
	Currency string      `json:"currency,omitempty"`
	PaidAt   time.Time   `json:"paid_at"`
	Until    *time.Time  `json:"until"` // null: for ever
	// State is open, ended, refunded, disputed, dispute_lost, revoked or mismatch.
	State   string `json:"state"`
	Given   bool   `json:"given,omitempty"`
	Note    string `json:"note,omitempty"`
	Extends string `json:"extends,omitempty"`
}

func infoOf(grant ledger.Grant) purchaseInfo {
	info := purchaseInfo{
		Session: grant.Session, Payment: grant.Payment, Site: grant.Terms.Site, Pass: grant.Terms.Pass,
		Resource: grant.Terms.Resource, PaidAt: grant.At.UTC(), State: stateOf(grant),
		Given: grant.Kind == ledger.Given, Note: grant.Note, Extends: grant.Terms.Extends,
	}
	if !info.Given {
		info.Amount, info.Currency = grant.Paid.Number(), grant.Paid.Currency
	}
	if !grant.Until.IsZero() {
		until := grant.Until.UTC()
		info.Until = &until
	}
	return info
}

func stateOf(grant ledger.Grant) string {
	switch {
	case grant.ClosedFor != "":
		return string(grant.ClosedFor)
	case grant.Ended(now()):
		return "ended"
	default:
		return "open"
	}
}

// adminPurchases lists purchases as JSON lines, so that their number does not matter.
// The last line says how it ended.
func (a *App) adminPurchases(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	filter := ledger.Filter{Pass: query.Get("pass"), Site: query.Get("site"), Unfitting: query.Has("unfitting")}
	var err error
	if filter.From, filter.To, err = timesOf(r); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jsonl")
	out := json.NewEncoder(w)
	end := struct {
		End        bool   `json:"end"`
		Unreadable int    `json:"unreadable"`
		Error      string `json:"error,omitempty"`
	}{End: true}
	err = a.archive.Purchases(r.Context(), filter, func(grant ledger.Grant) error {
		return out.Encode(infoOf(grant)) //nolint:gosec // a pass is no password
	}, func(error) { end.Unreadable++ })
	if err != nil {
		end.Error = err.Error()
	}
	return out.Encode(end)
}

// dossierInfo is all that is known about one purchase.
type dossierInfo struct {
	purchaseInfo

	Payments  []purchaseInfo `json:"payments"`
	Events    []eventInfo    `json:"events"`
	Decisions []eventInfo    `json:"decisions"`
	Devices   []time.Time    `json:"devices"` // when each was added, but for the one that paid
	// DevicesLimit is on how many devices it may be used, the one that paid included.
	DevicesLimit int    `json:"devices_limit"`
	Fetches      int    `json:"fetches"`
	FetchesLimit int    `json:"fetches_limit,omitempty"`
	Claimed      string `json:"claimed,omitempty"` // origin, or another browser
}

// eventInfo is one thing that became of a purchase.
type eventInfo struct {
	What string    `json:"what"`
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty"`
}

func (a *App) adminPurchase(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		ID string `json:"id"`
	}
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	session, err := a.sessionNamed(r.Context(), asked.ID)
	if err != nil {
		return ledgerError(err)
	}
	file, err := a.archive.Dossier(r.Context(), session)
	if errors.Is(err, ledger.ErrNotPaid) {
		return a.adminMismatch(w, r, session)
	}
	if err != nil {
		return ledgerError(err)
	}
	info := dossierInfo{
		purchaseInfo: infoOf(file.Grant), Payments: []purchaseInfo{}, Events: []eventInfo{}, Decisions: []eventInfo{}, Devices: []time.Time{},
		DevicesLimit: devicesOf(file.Terms), Fetches: file.Fetches, FetchesLimit: file.Terms.Downloads,
	}
	for _, part := range file.Parts {
		info.Payments = append(info.Payments, infoOf(part))
	}
	for _, event := range file.Events {
		info.Events = append(info.Events, eventInfo{What: string(event.Kind), At: event.At.UTC()})
	}
	for _, decision := range file.Decisions {
		info.Decisions = append(info.Decisions, eventInfo{What: decision.Holder, At: decision.At.UTC(), Note: decision.Note})
	}
	for _, device := range file.Devices {
		info.Devices = append(info.Devices, device.At.UTC())
	}
	if file.Claimed != nil {
		info.Claimed = "another browser"
		if file.Claimed.Holder == originHolder {
			info.Claimed = originHolder
		}
	}
	return writeAdmin(w, info)
}

// adminMismatch tells of a payment that opened nothing.
func (a *App) adminMismatch(w http.ResponseWriter, r *http.Request, session string) error {
	fact, err := a.ledger.Mismatched(r.Context(), session)
	if err != nil {
		return ledgerError(err)
	}
	info := infoOf(ledger.Grant{Fact: fact, ClosedFor: ledger.Mismatch})
	return writeAdmin(w, dossierInfo{purchaseInfo: info, Payments: []purchaseInfo{info}, Events: []eventInfo{}, Decisions: []eventInfo{}, Devices: []time.Time{}})
}

// sessionNamed is the session that an operator means by its id, or by a payment's.
func (a *App) sessionNamed(ctx context.Context, id string) (string, error) {
	if id == "" {
		return "", ledger.ErrNotPaid
	}
	session, err := a.archive.SessionOf(ctx, id)
	if errors.Is(err, ledger.ErrNotPaid) {
		return id, nil
	}
	return session, err
}

func (a *App) adminRevoke(w http.ResponseWriter, r *http.Request) error {
	return a.adminDecide(w, r, ledger.Revoked)
}

func (a *App) adminRestore(w http.ResponseWriter, r *http.Request) error {
	return a.adminDecide(w, r, ledger.Restored)
}

func (a *App) adminDecide(w http.ResponseWriter, r *http.Request, decision ledger.Kind) error {
	var asked struct {
		ID   string `json:"id"`
		Note string `json:"note"`
	}
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	if err := checkNote(asked.Note); err != nil {
		return err
	}
	session, err := a.sessionNamed(r.Context(), asked.ID)
	if err != nil {
		return ledgerError(err)
	}
	if session, err = a.ledger.WholeOf(r.Context(), session); err != nil {
		return ledgerError(err)
	}
	err = a.ledger.Decide(r.Context(), session, decision, asked.Note, now())
	a.shared.outcomes.Add(1) // also after an error: part of it may have been stored
	if err != nil {
		return ledgerError(err)
	}
	grant, err := a.ledger.Grant(r.Context(), session)
	if err != nil {
		return ledgerError(err)
	}
	a.logger.Info("purchase decided by the operator",
		zap.String("session", shorten(session)), zap.String("pass", grant.Terms.Pass), zap.String("outcome", string(decision)))
	return writeAdmin(w, infoOf(grant))
}

// maxNote bounds a note in bytes: every look at the purchase reads it.
const maxNote = 500

func checkNote(note string) error {
	if len(note) > maxNote {
		return adminError(http.StatusBadRequest, fmt.Errorf("a note has at most %d bytes", maxNote))
	}
	return nil
}

// giveRequest asks for access without a payment.
type giveRequest struct {
	// URL is the page at which it is to be opened; its origin is the site.
	URL string `json:"url"`
	// Pass may be left out where the site sells one only.
	Pass string `json:"pass,omitempty"`
	// Key is what is given of a pass that is sold by a key. Of one that is sold by path it
	// is the path of URL.
	Key string `json:"key,omitempty"`
	// Like is a purchase whose terms are given again, in place of Pass and Key.
	Like string `json:"like,omitempty"`
	// For is how long access lasts, such as 30d, or forever; "" is as it is sold.
	For string `json:"for,omitempty"`
	// Devices is on how many browsers it may be opened; 0 is one.
	Devices int    `json:"devices,omitempty"`
	Note    string `json:"note,omitempty"`
}

// opened is what an operator gets to pass on.
type opened struct {
	Session string     `json:"session"`
	Link    string     `json:"link"`
	Expires *time.Time `json:"link_expires,omitempty"`
}

func (a *App) adminGive(w http.ResponseWriter, r *http.Request) error {
	var asked giveRequest
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	if err := checkNote(asked.Note); err != nil {
		return err
	}
	if err := a.keysLoaded(r.Context()); err != nil {
		return err
	}
	site, target, err := a.siteOf(asked.URL)
	if err != nil {
		return adminError(http.StatusBadRequest, err)
	}
	given, err := a.termsToGive(r.Context(), asked, site, target)
	if err != nil {
		return err
	}
	session, err := a.ledger.Give(r.Context(), ledger.Fact{At: now(), Note: asked.Note, Terms: given})
	if err != nil {
		return ledgerError(err)
	}
	a.logger.Info("access given by the operator", zap.String("session", shorten(session)), zap.String("pass", given.Pass))
	return a.tellLink(w, ledger.Grant{Fact: ledger.Fact{Session: session, Terms: given}}, site, target, operatorLinkLife)
}

func (a *App) keysLoaded(ctx context.Context) error {
	if a.keysReady(ctx) {
		return nil
	}
	return adminError(http.StatusServiceUnavailable, errors.New("the signing keys are not loaded yet: is storage in trouble? See the log"))
}

// siteOf takes an address apart, if it is of a site that a gate stands in.
func (a *App) siteOf(address string) (site, string, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return site{}, "", fmt.Errorf("%.200q is no address: write it in full, such as https://example.com/premium/", address)
	}
	origin := strings.ToLower(parsed.Scheme + "://" + parsed.Host)
	host, _ := splitHostPort(parsed.Host)
	if parsed.Scheme == "http" && !isLoopback(host) && a.siteURL != origin {
		return site{}, "", fmt.Errorf("visitors come to %s by https: write the address so", host)
	}
	for _, gate := range a.allGates() {
		if gate.siteURL == origin || gate.siteURL == "" && gate.standsAt(host, origin) {
			return newSite(origin), cleanTarget(parsed), nil
		}
	}
	return site{}, "", fmt.Errorf("no gate stands at %s", origin)
}

// standsAt reports whether the gate is of a site with that host name.
func (h *Handler) standsAt(host, origin string) bool {
	if h.app.siteURL == origin {
		return true
	}
	servers := h.app.httpApp()
	if servers == nil {
		return false
	}
	for _, server := range servers.Servers {
		if slices.ContainsFunc(h.addresses(server), func(a address) bool { return a.matches(host) }) {
			return true
		}
	}
	return false
}

// termsToGive are those of another purchase, or of what a gate of the site sells.
func (a *App) termsToGive(ctx context.Context, asked giveRequest, site site, target string) (terms.Terms, error) {
	given := terms.Terms{Installation: a.keyring.Installation(), Site: site.origin}
	if asked.Like != "" {
		session, err := a.sessionNamed(ctx, asked.Like)
		if err != nil {
			return given, ledgerError(err)
		}
		like, err := a.ledger.Grant(ctx, session)
		if err != nil {
			return given, ledgerError(err)
		}
		if like.Terms.Site != site.origin {
			return given, adminError(http.StatusBadRequest, fmt.Errorf("that purchase is of %s", like.Terms.Site))
		}
		given.Pass, given.Resource, given.Access, given.Downloads = like.Terms.Pass, like.Terms.Resource, remaining(like), like.Terms.Downloads
	} else {
		sale, err := a.saleToGive(asked.Pass, site)
		if err != nil {
			return given, adminError(http.StatusBadRequest, err)
		}
		given.Pass, given.Access, given.Downloads = sale.pass, sale.access, sale.Downloads
		if given.Resource, err = resourceToGive(sale, asked.Key, target); err != nil {
			return given, adminError(http.StatusBadRequest, err)
		}
	}
	var err error
	if asked.For != "" {
		if given.Access, err = parseAccess(asked.For); err != nil {
			return given, adminError(http.StatusBadRequest, err)
		}
	}
	given.Devices = cmp.Or(asked.Devices, 1)
	if given.Devices < 1 || given.Devices > maxDevices {
		return given, adminError(http.StatusBadRequest, fmt.Errorf("on 1 to %d devices", maxDevices))
	}
	return given, nil
}

// remaining is the access that a purchase has left, at least a moment of it.
func remaining(grant ledger.Grant) terms.Access {
	if grant.Until.IsZero() {
		return terms.Forever
	}
	return terms.Access(max(grant.Until.Sub(now()).Truncate(time.Second), time.Second))
}

// saleToGive finds a pass of the site, retired ones too.
func (a *App) saleToGive(pass string, site site) (*sale, error) {
	host, _ := splitHostPort(site.host())
	found := make(map[string]*sale)
	for _, gate := range a.allGates() {
		if gate.siteURL != site.origin && (gate.siteURL != "" || !gate.standsAt(host, site.origin)) {
			continue
		}
		for _, each := range gate.sales {
			found[each.pass] = each
		}
	}
	if pass == "" && len(found) == 1 {
		for _, only := range found {
			return only, nil
		}
	}
	if found[pass] == nil {
		names := make([]string, 0, len(found))
		for name := range found {
			names = append(names, name)
		}
		slices.Sort(names)
		return nil, fmt.Errorf("name one of the passes of %s: %s", site.origin, strings.Join(names, ", "))
	}
	return found[pass], nil
}

func resourceToGive(sale *sale, key, target string) (string, error) {
	switch {
	case !sale.PerPath:
		return terms.WholePass, nil
	case sale.Key == "":
		path, _, _ := strings.Cut(target, "?")
		unescaped, err := url.PathUnescape(path)
		if err != nil {
			return "", fmt.Errorf("the path of the address cannot be read: %w", err)
		}
		return bounded(samePage(unescaped)), nil
	case key == "":
		return "", fmt.Errorf("pass %q is sold by %s: say which one", sale.pass, sale.Key)
	default:
		return keyResource(key), nil
	}
}

// operatorLinkLife is how long an address works that an operator sends to somebody.
const operatorLinkLife = 7 * 24 * time.Hour

// linkRequest asks for an address that opens a purchase.
type linkRequest struct {
	ID string `json:"id"`
	// URL is the page to which it leads; "" is the path that was bought.
	URL string `json:"url,omitempty"`
	// Direct asks for a private address, which opens without a click and without a
	// cookie, as download managers need; the gate must have links on.
	Direct bool `json:"direct,omitempty"`
	// For is how long the address works; "" is 7 days.
	For string `json:"for,omitempty"`
}

// adminLink makes an address by which a purchase is opened in another browser, or a
// file of it fetched.
func (a *App) adminLink(w http.ResponseWriter, r *http.Request) error {
	var asked linkRequest
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	if err := a.keysLoaded(r.Context()); err != nil {
		return err
	}
	session, err := a.sessionNamed(r.Context(), asked.ID)
	if err != nil {
		return ledgerError(err)
	}
	grant, err := a.ledger.Grant(r.Context(), session)
	if err != nil {
		return ledgerError(err)
	}
	if !grant.Open(now()) {
		return adminError(http.StatusConflict, fmt.Errorf("that purchase opens nothing: it is %s", stateOf(grant)))
	}
	life := operatorLinkLife
	if asked.For != "" {
		if life, err = caddy.ParseDuration(asked.For); err != nil || life < time.Minute || life > token.LongestLife {
			return adminError(http.StatusBadRequest, fmt.Errorf("%.40q is no length of time from a minute to ten years: write 24h or 7d", asked.For))
		}
	}
	// A resource with a space may be a path with one, or two paths.
	if bought := grant.Terms.Resource; asked.URL == "" && strings.HasPrefix(bought, "/") && !strings.Contains(bought, " ") {
		asked.URL = grant.Terms.Site + escaped(bought)
	}
	site, target, err := a.siteOf(asked.URL)
	if err == nil && site.origin != grant.Terms.Site {
		err = fmt.Errorf("that purchase is of %s", grant.Terms.Site)
	}
	if err != nil {
		return adminError(http.StatusBadRequest, err)
	}
	if asked.Direct {
		return a.tellPrivateAddress(w, grant, site, target, life)
	}
	return a.tellLink(w, grant, site, target, life)
}

// tellLink answers with the address that opens a purchase in another browser.
func (a *App) tellLink(w http.ResponseWriter, grant ledger.Grant, site site, target string, life time.Duration) error {
	expires := now().Add(life).UTC().Truncate(time.Second)
	address, err := a.deviceAddress(site, grant, target, expires)
	if err != nil {
		return err
	}
	a.logger.Info("link to a purchase made by the operator", zap.String("session", shorten(grant.Session)))
	return writeAdmin(w, opened{Session: grant.Session, Link: address, Expires: &expires})
}

func (a *App) tellPrivateAddress(w http.ResponseWriter, grant ledger.Grant, site site, target string, life time.Duration) error {
	honoured := slices.ContainsFunc(a.allGates(), func(h *Handler) bool {
		return h.Links != nil && h.saleOf(grant.Terms.Pass) != nil
	})
	if !honoured {
		return adminError(http.StatusConflict, fmt.Errorf("no gate that sells %q has `links`: add it, or ask for a link that is not direct", grant.Terms.Pass))
	}
	expires := now().Add(life).UTC().Truncate(time.Second)
	address, err := a.privateAddress(site, token.Access{
		Pass: grant.Terms.Pass, Resource: grant.Terms.Resource, Session: grant.Session, Payment: grant.Payment,
	}, target, expires)
	if err != nil {
		return err
	}
	a.logger.Info("link to a purchase made by the operator", zap.String("session", shorten(grant.Session)))
	return writeAdmin(w, opened{Session: grant.Session, Link: address, Expires: &expires})
}

// deviceAddress opens the purchase in another browser, at a page of the site.
func (a *App) deviceAddress(site site, purchase ledger.Grant, target string, expires time.Time) (string, error) {
	raw, err := a.keyring.Sign(token.Device, deviceClaims{
		RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(expires)},
		Session:          purchase.Session, Pass: purchase.Terms.Pass, Scope: deviceScope(site),
	})
	if err != nil {
		return "", err
	}
	return site.origin + withParams(target, paramDevice, raw), nil
}

func deviceScope(site site) string { return session.Scope(site.origin, "device", "") }
