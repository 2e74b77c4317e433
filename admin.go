package paywall

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
)

// adminAPI serves `/axra/…` on Caddy's admin endpoint, for `caddy axra` and for
// programs of the operator. Whoever may use that endpoint may load any configuration,
// so nothing is kept from them but keys and secrets.
type adminAPI struct{}

// adminBase begins the paths of the admin API.
const adminBase = "/axra/"

// maxAdminBody bounds a request that is no import, in bytes.
const maxAdminBody = 256 << 10

// Routes returns the routes of the admin API.
func (api *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminBase, Handler: caddy.AdminHandlerFunc(api.serve)}}
}

// adminCall answers one call.
type adminCall func(*App, http.ResponseWriter, *http.Request) error

// adminCalls lists the calls by method and path.
var adminCalls = map[string]adminCall{
	"POST purchases":      (*App).adminPurchases, // not GET: Caddy logs addresses
	"POST purchase":       (*App).adminPurchase,
	"POST device/remove":  (*App).adminRemoveDevice,
	"POST revoke":         (*App).adminRevoke,
	"POST restore":        (*App).adminRestore,
	"POST give":           (*App).adminGive,
	"POST link":           (*App).adminLink,
	"GET report":          (*App).adminReport,
	"POST sweep":          (*App).adminSweep,
	"GET export":          (*App).adminExport,
	"POST import":         (*App).adminImport,
	"GET backup":          (*App).adminBackup,
	"POST backup/restore": (*App).adminRestoreBackup,
	"POST webhook/replay": (*App).adminReplay,
	"GET keys":            (*App).adminKeys,
	"POST keys/rotate":    (*App).adminRotate,
	"POST keys/remove":    (*App).adminRemoveKey,
	"GET webhook/refused": (*App).adminRefused,
}

func (api *adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	path := strings.TrimPrefix(r.URL.Path, adminBase)
	call, ok := adminCalls[r.Method+" "+path]
	if !ok {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if adminCalls[method+" "+path] != nil {
				w.Header().Set("Allow", method)
				return adminError(http.StatusMethodNotAllowed, fmt.Errorf("%s takes %s", r.URL.Path, method))
			}
		}
		return adminError(http.StatusNotFound, fmt.Errorf("there is no %s", r.URL.Path))
	}
	app, err := runningApp()
	if err != nil {
		return err
	}
	return call(app, w, r)
}

// runningApp is the app of the configuration in force. That of the context in which a
// router is provisioned is still being made when the first calls come.
func runningApp() (*App, error) {
	running := caddy.ActiveContext()
	if running.Context == nil {
		return nil, adminError(http.StatusServiceUnavailable, errors.New("Caddy is starting")) //nolint:staticcheck // a name
	}
	module, err := running.AppIfConfigured("axra")
	if err != nil {
		return nil, adminError(http.StatusNotFound, errors.New("the running configuration has no global option axra"))
	}
	app, ok := module.(*App)
	if !ok {
		return nil, fmt.Errorf("app axra is a %T", module)
	}
	return app, nil
}

func adminError(status int, err error) error {
	return caddy.APIError{HTTPStatus: status, Err: err}
}

// ledgerError says in the terms of HTTP what the ledger could not do.
func ledgerError(err error) error {
	var ambiguous *ambiguousError
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return adminError(http.StatusNotFound, errors.New("no such purchase: give its reference, or the id of a session or a payment in full"))
	case errors.As(err, &ambiguous), errors.Is(err, ledger.ErrUnchanged), errors.Is(err, ledger.ErrNotEmpty), errors.Is(err, ledger.ErrNoFile),
		errors.Is(err, errSweeping):
		return adminError(http.StatusConflict, err)
	case errors.Is(err, ledger.ErrNotExport), errors.Is(err, ledger.ErrNotBackup):
		return adminError(http.StatusBadRequest, err)
	case errors.Is(err, ledger.ErrUnavailable):
		return adminError(http.StatusServiceUnavailable, err)
	default:
		return adminError(http.StatusInternalServerError, err)
	}
}

// withoutDeadline lifts the ten seconds that Caddy's admin endpoint gives a request: after them it would be
// canceled, also while it is answered.
func (a *App) withoutDeadline(w http.ResponseWriter) {
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		a.logger.Warn("a long call of the admin API may be cut off", zap.Error(err))
	}
}

// readAdmin reads the JSON body of a call.
func readAdmin(w http.ResponseWriter, r *http.Request, into any) error {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody))
	body.DisallowUnknownFields()
	if err := body.Decode(into); err != nil {
		return adminError(http.StatusBadRequest, fmt.Errorf("reading the request: %w", err))
	}
	if _, err := body.Token(); !errors.Is(err, io.EOF) {
		return adminError(http.StatusBadRequest, errors.New("reading the request: there is more than one JSON value"))
	}
	return nil
}

func writeAdmin(w http.ResponseWriter, value any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(value)
}

// parseSpan reads the times from and to of a call: RFC 3339, a day or a month.
func parseSpan(first, last string) (from, to time.Time, err error) {
	if from, err = parseTime(first); err != nil {
		return from, to, adminError(http.StatusBadRequest, err)
	}
	if to, err = parseTime(last); err != nil {
		return from, to, adminError(http.StatusBadRequest, err)
	}
	if !to.IsZero() && !from.Before(to) {
		return from, to, adminError(http.StatusBadRequest, fmt.Errorf("nothing lies from %.40q to %.40q: the first must be the earlier one", first, last))
	}
	return from, to, nil
}

// checkOrigin refuses what is no site's address: nothing was ever sold there. "" is any.
func checkOrigin(site string) error {
	if site == "" {
		return nil
	}
	parsed, err := url.Parse(site)
	isAddress := err == nil && parsed.Host != "" && (parsed.Scheme == "https" || parsed.Scheme == "http")
	if !isAddress || site != parsed.Scheme+"://"+parsed.Host || strings.ToLower(site) != site {
		return fmt.Errorf("%.200q is no site: write its address without a path and in small letters, such as https://example.com", site)
	}
	return nil
}

// parseTime reads a time, or the beginning of a day or a month in UTC; "" is the zero
// time.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time: write 2026-01-31, 2026-01 or 2026-01-31T12:00:00Z", text)
}

// Interface guards
var (
	_ caddy.AdminRouter = (*adminAPI)(nil)
)
