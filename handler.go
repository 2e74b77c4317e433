package paywall

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
)

// Handler is a gate: it lets requests through to the next handlers only for
// visitors who have paid, and sends others to a checkout session of Axra. In a
// Caddyfile it is the directive `axra_paywall`.
//
// It sets these placeholders for later handlers:
//
// Placeholder | Description
// ------------|---------------
// `{http.axra.paid}` | `true` for requests that a gate let through, `false` for those that it does not cover. The others are then empty.
// `{http.axra.pass}` | The name of the pass that opened the gate.
// `{http.axra.purchase}` | The id of the purchase. `caddy axra show` takes it.
// `{http.axra.until}` | The end of access in RFC 3339; empty for access without an end.
// `{http.axra.preview.left}` | How many free samples a visitor who reads one has left.
// `{http.axra.link.<path>}` | With Links, the private address of a path of this site, such as `{http.axra.link./feed/1.mp3}`.
// `{http.axra.user}` | A name for the purchase that may be logged: `axra-` and a hash of its id. `{http.auth.user.id}` is the same, unless an authentication handler has set it.
//
// Answers to requests that a gate lets through leave as `Cache-Control: private`.
//
// For a teaser it sets for each pass on sale `{http.axra.offer.<pass>.price}` (`5.00 USD`),
// `.amount`, `.currency`, `.description`, `.access` (`30d`, `forever`) and `.checkout`, the
// address that leads to its checkout; and `{http.axra.offer.passes}`, their names. Escape
// descriptions that hold placeholders of the request: `{{placeholder "…" | html}}`.
type Handler struct {
	// MatchersRaw says which requests the gate covers; without it, every request
	// that reaches the handler. Put matchers here rather than on the route: the
	// gate also applies them to the other paths under which a file server or an
	// application might serve the same content.
	MatchersRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// Pass is the name of what the gate itself sells, by its own Price. A payment
	// opens every gate of the site with the same pass name. The name stays with
	// those who have paid: keep it when a route moves or a price changes. In a
	// Caddyfile the default is the gate's matcher, such as `/premium/*`; in JSON it is
	// `default`.
	Pass string `json:"pass,omitempty"`

	// Offer is what the gate itself sells. It may be left out where Passes are named.
	Offer

	// Passes are the names of passes of the app that open the gate too, in the order
	// in which they are offered.
	Passes []string `json:"passes,omitempty"`

	// OfferPage shows what is on sale before the checkout. A gate that sells several
	// passes has one anyway.
	OfferPage *OfferPage `json:"offer_page,omitempty"`

	// Teaser is what visitors who have not paid get in place of the checkout or the
	// offer page.
	Teaser *Teaser `json:"teaser,omitempty"`

	// Preview lets visitors read some pages for free.
	Preview *Preview `json:"preview,omitempty"`

	// RequestHeaders begins the names of request headers that tell an application
	// behind the gate who has paid: with `X-Axra-` these are X-Axra-Paid (`true`),
	// X-Axra-Pass, X-Axra-Purchase, X-Axra-Until and X-Axra-User. What
	// a client sends under such names is removed from every request that comes by the
	// gate. Without it no headers are set.
	RequestHeaders string `json:"request_headers,omitempty"`

	// Receipt shows the receipt after the payment, before the content. It is always to
	// be had by adding `?axra_receipt` to the address of a page that was bought.
	Receipt bool `json:"receipt,omitempty"`

	// Claim lets another browser than the one that started a checkout take its purchase,
	// as phones need whose banking app opens a browser of its own. With `first`, the
	// first browser that comes with the session's unguessable id may, once. Without it
	// nobody may.
	Claim string `json:"claim,omitempty"`

	// Links gives who has paid private addresses that work without cookies.
	Links *Links `json:"links,omitempty"`

	// ExpiresIn is how long a checkout session stays open, at least 5m. Axra
	// advises 15m or more. The default is 30m.
	ExpiresIn caddy.Duration `json:"expires_in,omitempty"`

	// CustomerEmail pre-fills the e-mail field of the checkout page. Placeholders
	// are replaced for each request.
	CustomerEmail string `json:"customer_email,omitempty"`

	// Metadata is attached to the checkout session and comes back in webhooks and in
	// Axra's dashboard. Placeholders in values are replaced for each request. Keys
	// that begin with `paywall_`, and `sessionId`, are reserved.
	Metadata map[string]string `json:"metadata,omitempty"`

	// CancelURL is where Axra sends a customer who cancels or lets the session
	// expire: an absolute address, or a path of this site. The default is the gated
	// page itself, which then says that nothing was charged and offers to try again.
	// Placeholders are replaced for each request.
	CancelURL string `json:"cancel_url,omitempty"`

	// SiteURL is the public address of this gate's site, where it differs from the
	// host name in the configuration. The default is that host name, else the app's
	// `site_url`.
	SiteURL string `json:"site_url,omitempty"`

	routes       routesParser          // only while a Caddyfile is read
	listed       []caddyfile.Dispenser // where `pass` names several; only while a Caddyfile is read
	app          *App
	logger       *zap.Logger
	matcher      coverageMatcher
	implicitPass bool             // nobody has chosen the name
	sales        []*sale          // what opens the gate, in the order in which it is offered
	sellsPaths   bool             // some sale is per path
	sellsKeys    bool             // some sale is by a key
	looksUpPaths bool             // some sale has a price or key that is looked up for each path
	previews     *session.Limiter // of visitors without a preview cookie
	freeParts    *session.Limiter // of what free pages are made of
	covers       string           // the matchers as configured
	siteURL      string
	cookies      sync.Map // origin → *cookieNames
	origins      atomic.Int64
	stands       sync.Map // *caddyhttp.Server → *stand
	lastStand    atomic.Pointer[stand]
}

// DefaultPass names the pass of a gate that says nothing else.
const DefaultPass = "default"

// Provision reads the gate's configuration.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if err := h.provisionMatchers(ctx); err != nil {
		return err
	}
	if h.implicitPass = h.Pass == "" && h.sellsItself(); h.implicitPass {
		h.Pass = DefaultPass
	}
	if err := h.Teaser.provision(ctx); err != nil {
		return fmt.Errorf("axra_paywall: gate %q: %w", h.label(), err)
	}
	var err error
	if h.app, err = appFrom(ctx, "axra_paywall"); err != nil {
		return err
	}
	if h.app.client == nil {
		return errors.New("axra_paywall: the global option axra has no api_key: add `api_key {env.AXRA_API_KEY}`")
	}
	if h.ExpiresIn == 0 {
		h.ExpiresIn = caddy.Duration(session.DefaultExpiresIn)
	}
	if err := h.read(); err != nil {
		return fmt.Errorf("axra_paywall: gate %q: %w", h.label(), err)
	}
	if h.Preview != nil {
		gate := h.label() + "\n" + h.covers
		h.previews, h.freeParts = h.Preview.limiter(h.app, gate), h.Preview.parts(h.app, gate)
	}
	h.app.register(h)
	return nil
}

func (h *Handler) provisionMatchers(ctx caddy.Context) error {
	if len(h.MatchersRaw) == 0 {
		return nil
	}
	if raw, err := json.Marshal(h.MatchersRaw); err == nil {
		h.covers = string(raw)
	}
	loaded, err := ctx.LoadModule(h, "MatchersRaw")
	if err != nil {
		return fmt.Errorf("axra_paywall: loading matchers: %w", err)
	}
	var sets caddyhttp.MatcherSets
	if err := sets.FromInterface(loaded); err != nil {
		return fmt.Errorf("axra_paywall: loading matchers: %w", err)
	}
	h.matcher = newCoverageMatcher(sets)
	return nil
}

// read checks what the configuration says; the errors name the fix.
func (h *Handler) read() error {
	if err := h.readSales(); err != nil {
		return err
	}
	if err := h.OfferPage.read(len(h.sales)); err != nil {
		return err
	}
	if err := h.Preview.check(); err != nil {
		return err
	}
	if err := h.Links.check(); err != nil {
		return err
	}
	if h.Claim != "" {
		if err := checkClaim(h.Claim); err != nil {
			return err
		}
	}
	if h.RequestHeaders != "" {
		if err := checkRequestHeaders(h.RequestHeaders); err != nil {
			return err
		}
	}
	if err := checkExpiresIn(h.ExpiresIn); err != nil {
		return err
	}
	if h.CancelURL != "" {
		if err := checkCancelURL(h.CancelURL); err != nil {
			return err
		}
	}
	for name := range h.Metadata {
		if err := checkMetadataKey(name); err != nil {
			return err
		}
	}
	var err error
	h.siteURL, err = resolveSiteURL(h.SiteURL)
	return err
}

// sellsItself reports whether the gate has an offer of its own.
func (h *Handler) sellsItself() bool { return h.Offer != (Offer{}) || len(h.Passes) == 0 }

// label names the gate in errors.
func (h *Handler) label() string {
	if h.Pass != "" {
		return h.Pass
	}
	return strings.Join(h.Passes, " ")
}

// readSales collects what opens the gate.
func (h *Handler) readSales() error {
	if h.sellsItself() {
		if h.app.passes[h.Pass] != nil {
			return fmt.Errorf("pass %q is defined in the global option axra already: write `passes %s` without a price to sell that one, or choose another name", h.Pass, h.Pass)
		}
		if err := h.checkOwnOffer(); err != nil {
			return err
		}
		own, err := newSale(h.Pass, h.Offer)
		if err != nil {
			return err
		}
		h.sales = append(h.sales, own)
	}
	for _, name := range h.Passes {
		shared := h.app.passes[name]
		if shared == nil {
			return fmt.Errorf("pass %q is not defined%s: correct the name, or add `pass %s { price 5.00 usd }` to the global option axra",
				name, h.app.definedPasses(), name)
		}
		if slices.Contains(h.sales, shared) {
			return fmt.Errorf("pass %q is named twice: keep one", name)
		}
		h.sales = append(h.sales, shared)
	}
	for _, sale := range h.sales {
		h.sellsPaths = h.sellsPaths || sale.PerPath
		h.sellsKeys = h.sellsKeys || sale.Key != ""
		h.looksUpPaths = h.looksUpPaths || sale.dependsOnPath()
	}
	return nil
}

// saleOf finds the sale of a pass that opens the gate.
func (h *Handler) saleOf(pass string) *sale {
	for _, sale := range h.sales {
		if sale.pass == pass {
			return sale
		}
	}
	return nil
}

func checkCancelURL(value string) error {
	if strings.HasPrefix(value, "{") || strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "//") {
		return nil
	}
	if parsed, err := url.Parse(value); err == nil && parsed.Host != "" && (parsed.Scheme == "https" || parsed.Scheme == "http") {
		return nil
	}
	return errors.New("cancel_url must be an absolute address or a path: write `cancel_url /pricing`")
}

func checkExpiresIn(d caddy.Duration) error {
	if length := time.Duration(d); length < session.MinExpiresIn || length > 24*time.Hour {
		return fmt.Errorf("expires_in %s: Axra wants at least %s, and more than a day is no checkout: write `expires_in 30m`", length, session.MinExpiresIn)
	}
	return nil
}

func checkMetadataKey(name string) error {
	if name == "" || name == "sessionId" || strings.HasPrefix(name, terms.MetadataPrefix) {
		return fmt.Errorf("metadata %q: the key is reserved: choose another (not sessionId, not %s…)", name, terms.MetadataPrefix)
	}
	return nil
}

// maxHeaderBytes bounds the request headers where the owner allows more than Caddy's
// own 16 KB.
const maxHeaderBytes = 128 << 10

// ServeHTTP decides whether a request is the gate's business.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	own := hasOwnParams(r)
	h.stripHeaders(r)
	came := r.URL.RawQuery
	// From here on matchers, keys and the handlers behind see the query that the browser
	// wanted; newVisit reads what the gate has added from originalURL.
	r.URL.RawQuery, _ = urlpath.CleanQuery(came)
	found, err := h.matcher.coverage(r)
	if err != nil {
		// Answered here: a `handle_errors` could serve the very file.
		h.app.complain(h.logger, "a matcher of the gate failed; the request is refused", zap.Error(err))
		return h.show(w, r, page.View{Kind: page.Misconfigured})
	}
	switch found {
	case notCovered:
		r.URL.RawQuery = came
		cleanReferer(r)
		setAdmission(r, nil)
		return next.ServeHTTP(w, r)
	case ambiguous:
		return h.show(w, r, page.View{Kind: page.BadAddress})
	}
	if own {
		cleanPlaceholders(r) // for keys and prices that read it
	}
	return h.guard(w, r, next, own)
}

// hasOwnParams reports whether the gate may have added something to an address of the
// request.
func hasOwnParams(r *http.Request) bool {
	if urlpath.MayHaveParams(originalURL(r).RawQuery) {
		return true
	}
	referer := r.Header["Referer"] // Get would prepare the name
	return len(referer) > 0 && urlpath.MayHaveParams(referer[0])
}

// guard answers a request that the gate covers.
func (h *Handler) guard(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, own bool) error {
	if h.isUnsellable(r) {
		return h.show(w, r, page.View{Kind: page.BadAddress})
	}
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if isOversized(r, server) {
		return h.show(w, r, page.View{Kind: page.TooLong, Status: http.StatusRequestHeaderFieldsTooLarge})
	}
	if !h.app.keysReady(r.Context()) {
		return h.show(w, r, page.View{Kind: page.PaymentSafe, RetryAfter: 5 * time.Second})
	}
	site, err := h.siteOf(r, server)
	if err != nil {
		h.app.complain(h.logger, "add site_url to the gate: visitors cannot be sent back", zap.String("host", r.Host), zap.Error(err))
		return h.show(w, r, page.View{Kind: page.Misconfigured})
	}
	if clean := urlpath.Clean(originalURL(r).Path); h.looksUpPaths && clean != originalURL(r).Path && r.Method == http.MethodGet {
		// Also for buyers: a key may be looked up by the address as it was sent.
		goTo(w, urlpath.FullTarget(urlpath.WithPath(originalURL(r), clean)))
		return nil
	}
	verdict, known := h.decide(r, site, nil)
	if h.isBehindScript(r) && (verdict != access.Open || known.Resource != terms.WholePass) {
		return h.show(w, r, page.View{Kind: page.BadAddress})
	}
	if own {
		if verdict == access.Open && known.Link == "" && h.newVisit(w, r, site, next).isForAnotherGate(known) {
			return h.admit(w, r, next, site, known) // with the parameters, which a gate behind reads
		}
		behind := next
		next = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return behind.ServeHTTP(w, withoutGateParams(r)) })
		if handled, err := h.answerOwn(w, r, next, site); handled {
			return err
		}
	}
	switch {
	case verdict != access.Open:
		return h.newVisit(w, r, site, next).turnedAway(verdict, known)
	case own && known.Link == "" && isReturn(r): // a private address stays one address, in a browser too
		return h.newVisit(w, r, site, next).welcomeBack(known)
	}
	return h.admit(w, r, next, site, known)
}

// isUnsellable reports whether what a request would buy, or opens, cannot be told from its path.
func (h *Handler) isUnsellable(r *http.Request) bool {
	switch {
	case !h.sellsPaths:
		return false
	case !isUnambiguous(r), urlpath.HasQueryRoute(originalURL(r)), urlpath.HasQueryRoute(r.URL), h.sellsKeys && !isWellFormed(r.URL.RawQuery):
		return true
	}
	// The site's own rewriting has made another spelling of something that the visitor sent.
	return h.looksUpPaths && isRewritten(r) && urlpath.Clean(r.URL.Path) != r.URL.Path
}

// isBehindScript reports whether a path that is sold by itself lies behind a script, so that another one may be
// served: unless the gate's matchers name it, and the price is the same for all paths.
func (h *Handler) isBehindScript(r *http.Request) bool {
	if !h.sellsPaths || !urlpath.IsRouted(originalURL(r)) {
		return false
	}
	direct, err := h.matcher.sets.AnyMatchWithError(r)
	return h.looksUpPaths || err != nil || !direct && len(h.matcher.sets) > 0
}

// isReturn reports whether a browser comes with what leads back from a checkout.
func isReturn(r *http.Request) bool {
	return len(urlpath.Params(originalURL(r).RawQuery)) > 0 && isPageRequest(r)
}

// answerOwn answers what is about the purchase itself: what the gate has added to the
// address says so.
func (h *Handler) answerOwn(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, site site) (handled bool, err error) {
	switch visit := h.newVisit(w, r, site, next); {
	case isForm(r):
		return true, visit.answerForm()
	case isForPrograms(r):
		return true, visit.answerProgram()
	case strings.Contains(originalURL(r).RawQuery, urlpath.ParamSession) && visit.isPoll():
		return true, visit.answerPoll()
	}
	return false, nil
}

// isOversized reports whether a request has more header than the gate reads. Few servers
// let so much in.
func isOversized(r *http.Request, server *caddyhttp.Server) bool {
	if server != nil && server.MaxHeaderBytes > 0 && server.MaxHeaderBytes <= maxHeaderBytes {
		return false
	}
	total := 0
	for name, values := range r.Header {
		for _, value := range values {
			total += len(name) + len(value)
		}
	}
	return total > maxHeaderBytes
}

// decide finds the token that opens the gate, if the request carries one. Where
// passes are named, it must be of one of these.
func (h *Handler) decide(r *http.Request, site site, passes []string) (access.Decision, *access.Token) {
	best, known := access.None, (*access.Token)(nil)
	at := arrived(r)
	h.eachPresented(r, site, at, func(entry *access.Token) bool {
		if len(passes) > 0 && !slices.Contains(passes, entry.Pass) || !h.isFor(r, entry) {
			return true
		}
		verdict := h.app.judge(r.Context(), entry, at)
		switch {
		case verdict == access.Open && entry.DownloadLimit() == 0:
			best, known = access.Open, entry
			return false
		case verdict == access.Open, // another may open without counting downloads
			verdict == access.Unknown && best != access.Open, // who may have paid is not told that all is over
			verdict == access.Closed && best == access.None:
			best, known = verdict, entry
		}
		return true
	})
	return best, known
}

// isFor reports whether what a token was given for is what the request asks for.
func (h *Handler) isFor(r *http.Request, entry *access.Token) bool {
	sale := h.saleOf(entry.Pass)
	if sale == nil || !sale.opens(entry.Resource, r) {
		return false
	}
	// It may have been bought by path when the gate still sold paths.
	return entry.Resource == terms.WholePass || h.sellsPaths || isUnambiguous(r)
}

// eachPresented calls visit for the valid tokens of a request, whatever they open, until
// it returns false.
func (h *Handler) eachPresented(r *http.Request, site site, at time.Time, visit func(*access.Token) bool) {
	more := true
	h.eachToken(r, site, func(raw string) bool {
		if entry, err := h.app.access.Verify(raw, site.origin, at); err == nil {
			more = visit(entry)
		}
		return more
	})
	if !more {
		return
	}
	if entry := h.linked(r, site); entry != nil {
		visit(entry)
	}
}

// maxCandidates bounds how many tokens of one request are looked at.
const maxCandidates = 8

// eachToken calls visit for the values that may be access tokens, until it returns false:
// of our cookies, of which each may occur more than once (RFC 6265, section 5.4), and of
// the Authorization header.
func (h *Handler) eachToken(r *http.Request, site site, visit func(raw string) bool) {
	names := h.names(site).access
	if h.sellsKeys {
		names = append(slices.Clip(names), h.keyNames(r, site)...)
	}
	seen, more := 0, true
	eachAccessCookie(r.Header["Cookie"], func(name, value string) bool {
		if slices.Contains(names, name) {
			seen++
			more = visit(value)
		}
		return more && seen < maxCandidates
	})
	if !more {
		return
	}
	for _, value := range r.Header["Authorization"] {
		scheme, credentials, _ := strings.Cut(value, " ")
		if more && seen <= maxCandidates && strings.EqualFold(scheme, "Bearer") {
			seen++
			more = visit(strings.TrimSpace(credentials))
		}
	}
}

// admit serves a paid request.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, site site, v *access.Token) error {
	if v.Link == "" {
		h.renew(w, r, site, v)
	}
	private := newPrivateWriter(w)
	private.follow = streamFollower{access: h.app.access, bounds: h.app.bounds, token: v, r: r}
	defer func() { private.follow.end() }()
	setAdmission(r, v)
	h.identify(r, v)
	h.offerLinks(r, site, v)
	if v.Link != "" {
		private.before = func(int) {
			w.Header().Set("Referrer-Policy", "no-referrer") // or what the page loads would tell its address
		}
	}
	if isStream(r) {
		ctx, release := h.app.access.Stream(r.Context(), v, h.app.bounds)
		defer release()
		r = r.WithContext(ctx)
	}
	var err error
	if v.DownloadLimit() > 0 {
		counted := newDownload(private, r, h, v)
		err = counted.serve(next)
		if counted.refused != nil {
			counted.restore()
			return h.newVisit(w, r, site, next).refuseDownload(v, counted.refused)
		}
	} else {
		err = next.ServeHTTP(private, r)
	}
	if !private.wroteHeader {
		// An error, or nothing at all: whoever answers in the end answers a visitor
		// who has paid.
		makePrivate(w.Header())
	}
	return err
}

// renew replaces a token that ends before its access does.
func (h *Handler) renew(w http.ResponseWriter, r *http.Request, site site, v *access.Token) {
	if !endsEarly(v) {
		return // as most do not: asking for the time would be a fifth of what the gate takes
	}
	renewed, isDue := renewal(v, now())
	if !isDue {
		return
	}
	if err := h.giveToken(w, r, site, renewed); err != nil {
		h.app.complain(h.logger, "an access token could not be renewed", zap.Error(err))
	}
}

// show sends a page, filling in what every page of the gate says; a program gets
// problem details.
func (h *Handler) show(w http.ResponseWriter, r *http.Request, v page.View) error {
	if told, ok := plainly[v.Kind]; ok && !acceptsHTML(r) {
		return sendProblem(w, r, cmp.Or(v.Status, told.status), told.detail, v.RetryAfter)
	}
	if v.Site == "" {
		v.Site, _ = splitHostPort(r.Host)
	}
	v.FormTargets = h.app.formTargets
	if err := page.Write(w, r, v); err != nil && r.Context().Err() == nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
