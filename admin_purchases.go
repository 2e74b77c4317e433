package paywall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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
	// Asked is the price, where the state is mismatch: what came is another.
	Asked         json.Number `json:"asked,omitempty"`
	AskedCurrency string      `json:"asked_currency,omitempty"`
	PaidAt        time.Time   `json:"paid_at"`
	Until         *time.Time  `json:"until"` // null: for ever
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
	if grant.ClosedFor == ledger.Mismatch {
		info.Asked, info.AskedCurrency = grant.Terms.Price.Number(), grant.Terms.Price.Currency
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
	err := checkOrigin(filter.Site)
	if err != nil {
		return adminError(http.StatusBadRequest, err)
	}
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
	if err != nil && !errors.Is(err, ledger.ErrDecided) {
		return ledgerError(err)
	}
	grant, failed := a.ledger.Grant(r.Context(), session)
	switch {
	case failed != nil:
		return ledgerError(failed)
	case err != nil:
		return adminError(http.StatusConflict, decidedAlready(decision, stateOf(grant)))
	}
	a.logger.Info("purchase decided by the operator",
		zap.String("session", shorten(session)), zap.String("pass", grant.Terms.Pass), zap.String("outcome", string(decision)))
	return writeAdmin(w, infoOf(grant))
}

// decidedAlready says why there was nothing to decide.
func decidedAlready(decision ledger.Kind, state string) error {
	if decision == ledger.Revoked {
		return errors.New("it is revoked already")
	}
	if state == "open" {
		return errors.New("it is open already")
	}
	return fmt.Errorf("it was not revoked: it is %s, which cannot be restored; give access anew with caddy axra give", state)
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
	// Devices is in how many browsers it may be opened; without it, in one.
	Devices *int   `json:"devices,omitempty"`
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
	at, err := a.locate(asked.URL)
	if err != nil {
		return adminError(http.StatusBadRequest, err)
	}
	given, err := a.termsToGive(r.Context(), asked, at)
	if err != nil {
		return err
	}
	session, err := a.ledger.Give(r.Context(), ledger.Fact{At: now(), Note: asked.Note, Terms: given})
	if err != nil {
		return ledgerError(err)
	}
	a.logger.Info("access given by the operator", zap.String("session", shorten(session)), zap.String("pass", given.Pass))
	return a.tellLink(w, ledger.Grant{Fact: ledger.Fact{Session: session, Terms: given}}, at, operatorLinkLife)
}

func (a *App) keysLoaded(ctx context.Context) error {
	if a.keysReady(ctx) {
		return nil
	}
	return adminError(http.StatusServiceUnavailable, errors.New("the signing keys are not loaded yet: is storage in trouble? See the log"))
}

// whereabouts is an address of a site, with the gates that cover it.
type whereabouts struct {
	site   site
	target string
	gates  []*Handler
}

// locate takes an address apart, if a gate covers it: a link to any other would open
// nothing.
func (a *App) locate(address string) (whereabouts, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return whereabouts{}, fmt.Errorf("%.200q is no address: write it in full, such as https://example.com/premium/", address)
	}
	origin := strings.ToLower(parsed.Scheme + "://" + parsed.Host)
	host, _ := splitHostPort(parsed.Host)
	at := whereabouts{site: newSite(origin), target: cleanTarget(parsed)}
	stands := false
	for _, gate := range a.allGates() {
		server := gate.serverOf(host, origin)
		if server == nil {
			continue
		}
		stands = true
		if reach, err := gate.reach(strangerAt(server, host, parsed)); err == nil && reach == covered {
			at.gates = append(at.gates, gate)
		}
	}
	switch {
	case !stands:
		return at, fmt.Errorf("no gate stands at %s", origin)
	case parsed.Scheme == "http" && !isLoopback(host) && a.siteURL != origin && !slices.ContainsFunc(at.gates, func(h *Handler) bool { return h.siteURL == origin }):
		return at, fmt.Errorf("visitors come to %s by https: write the address so", host)
	case len(at.gates) == 0:
		return at, fmt.Errorf("no gate covers %s: name a page that is sold", parsed.Path)
	}
	return at, nil
}

// strangerAt is a stranger's request for the address.
func strangerAt(server *caddyhttp.Server, host string, address *url.URL) *http.Request {
	r := strangersRequest(server, http.MethodGet, host, address.Path)
	r.URL.RawQuery = address.RawQuery
	return r
}

// serverOf is the server on which the gate stands for a site, nil if it does not.
func (h *Handler) serverOf(host, origin string) *caddyhttp.Server {
	servers := h.app.httpApp()
	if servers == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(servers.Servers)) {
		server := servers.Servers[name]
		if len(findGate(h, server)) == 0 {
			continue
		}
		switch {
		case h.siteURL != "":
			if h.siteURL == origin {
				return server
			}
		case slices.ContainsFunc(h.addresses(server), func(a address) bool { return a.matches(host) }):
			return server
		case len(h.addresses(server)) == 0 && h.app.siteURL == origin:
			return server
		}
	}
	return nil
}

// termsToGive are those of another purchase, or of what a gate of the site sells.
func (a *App) termsToGive(ctx context.Context, asked giveRequest, at whereabouts) (terms.Terms, error) {
	given, err := a.sameTerms(ctx, asked, at)
	if asked.Like == "" {
		given, err = termsOnSale(asked, at)
	}
	if err != nil {
		return given, err
	}
	given.Installation, given.Site = a.keyring.Installation(), at.site.origin
	if asked.For != "" {
		if given.Access, err = parseAccess(asked.For); err != nil {
			return given, adminError(http.StatusBadRequest, err)
		}
	}
	given.Devices = 1
	if asked.Devices != nil {
		given.Devices = *asked.Devices
	}
	if given.Devices < 1 || given.Devices > maxDevices {
		return given, adminError(http.StatusBadRequest, fmt.Errorf("on 1 to %d devices", maxDevices))
	}
	return given, nil
}

// sameTerms are what another purchase opens, for as long as that has left.
func (a *App) sameTerms(ctx context.Context, asked giveRequest, at whereabouts) (terms.Terms, error) {
	if asked.Like == "" {
		return terms.Terms{}, nil
	}
	session, err := a.sessionNamed(ctx, asked.Like)
	if err != nil {
		return terms.Terms{}, ledgerError(err)
	}
	like, err := a.ledger.Grant(ctx, session)
	if err != nil {
		return terms.Terms{}, ledgerError(err)
	}
	switch {
	case like.Terms.Site != at.site.origin:
		return terms.Terms{}, adminError(http.StatusBadRequest, fmt.Errorf("that purchase is of %s", like.Terms.Site))
	case !like.Open(now()):
		return terms.Terms{}, adminError(http.StatusConflict, fmt.Errorf("that purchase opens nothing any more: it is %s", stateOf(like)))
	case !at.sells(like.Terms.Pass):
		return terms.Terms{}, adminError(http.StatusBadRequest, fmt.Errorf("pass %q does not open that address", like.Terms.Pass))
	}
	return terms.Terms{
		Pass: like.Terms.Pass, Resource: like.Terms.Resource, Access: remaining(like), Downloads: like.Terms.Downloads,
	}, nil
}

func (at whereabouts) sells(pass string) bool {
	return slices.ContainsFunc(at.gates, func(h *Handler) bool { return h.saleOf(pass) != nil })
}

func termsOnSale(asked giveRequest, at whereabouts) (terms.Terms, error) {
	sale, err := at.saleToGive(asked.Pass)
	if err != nil {
		return terms.Terms{}, adminError(http.StatusBadRequest, err)
	}
	resource, err := resourceToGive(sale, asked.Key, at.target)
	if err != nil {
		return terms.Terms{}, adminError(http.StatusBadRequest, err)
	}
	return terms.Terms{Pass: sale.pass, Resource: resource, Access: sale.access, Downloads: sale.Downloads}, nil
}

// remaining is the access that a purchase has left, at least a moment of it.
func remaining(grant ledger.Grant) terms.Access {
	if grant.Until.IsZero() {
		return terms.Forever
	}
	return terms.Access(max(grant.Until.Sub(now()).Truncate(time.Second), time.Second))
}

// saleToGive finds a pass that opens the address, retired ones too.
func (at whereabouts) saleToGive(pass string) (*sale, error) {
	found := make(map[string]*sale)
	for _, gate := range at.gates {
		for _, each := range gate.sales {
			found[each.pass] = each
		}
	}
	names := slices.Sorted(maps.Keys(found))
	if pass == "" && len(names) == 1 {
		pass = names[0]
	}
	if found[pass] == nil {
		return nil, fmt.Errorf("name one of the passes that open that address: %s", strings.Join(names, ", "))
	}
	return found[pass], nil
}

func resourceToGive(sale *sale, key, target string) (string, error) {
	if key != "" && (!sale.PerPath || sale.Key == "") {
		return "", fmt.Errorf("pass %q is not sold by a key", sale.pass)
	}
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
	if asked.URL == "" {
		return adminError(http.StatusBadRequest, fmt.Errorf("say at which page it is to be opened, such as %s/…: what was bought is %q", grant.Terms.Site, grant.Terms.Resource))
	}
	at, err := a.locate(asked.URL)
	switch {
	case err != nil:
		return adminError(http.StatusBadRequest, err)
	case at.site.origin != grant.Terms.Site:
		return adminError(http.StatusBadRequest, fmt.Errorf("that purchase is of %s", grant.Terms.Site))
	case !at.sells(grant.Terms.Pass):
		return adminError(http.StatusBadRequest, fmt.Errorf("pass %q does not open that address", grant.Terms.Pass))
	case asked.Direct:
		return a.tellPrivateAddress(w, grant, at, life)
	}
	free, err := a.placesLeft(r.Context(), grant)
	if err != nil {
		return ledgerError(err)
	}
	if free < 1 {
		return adminError(http.StatusConflict, fmt.Errorf("all %d devices of that purchase are in use: give the same again, with `caddy axra give %s --like` and its id", devicesOf(grant.Terms), asked.URL))
	}
	return a.tellLink(w, grant, at, life)
}

// placesLeft counts the browsers in which a purchase may still be opened.
func (a *App) placesLeft(ctx context.Context, grant ledger.Grant) (int, error) {
	places := placesOf(grant)
	if places < 1 {
		return 0, nil
	}
	taken, err := a.ledger.Taken(ctx, ledger.Device, grant.Session, places)
	return places - taken, err
}

// tellLink answers with the address that opens a purchase in another browser.
func (a *App) tellLink(w http.ResponseWriter, grant ledger.Grant, at whereabouts, life time.Duration) error {
	expires := now().Add(life).UTC().Truncate(time.Second)
	address, err := a.deviceAddress(at.site, grant, at.target, expires)
	if err != nil {
		return err
	}
	a.logger.Info("link to a purchase made by the operator", zap.String("session", shorten(grant.Session)))
	return writeAdmin(w, opened{Session: grant.Session, Link: address, Expires: &expires})
}

func (a *App) tellPrivateAddress(w http.ResponseWriter, grant ledger.Grant, at whereabouts, life time.Duration) error {
	honoured := slices.ContainsFunc(at.gates, func(h *Handler) bool {
		return h.Links != nil && h.saleOf(grant.Terms.Pass) != nil
	})
	if !honoured {
		return adminError(http.StatusConflict, fmt.Errorf("no gate there that sells %q has `links`: add it, or ask for a link that is not direct", grant.Terms.Pass))
	}
	expires := now().Add(life).UTC().Truncate(time.Second)
	address, err := a.privateAddress(at.site, token.Access{
		Pass: grant.Terms.Pass, Resource: grant.Terms.Resource, Session: grant.Session, Payment: grant.Payment,
	}, at.target, expires)
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
