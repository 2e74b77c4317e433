package paywall

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// redaction stands in logs where a secret was; Caddy writes the same for credentials.
const redaction = "REDACTED"

// isSecretParam reports whether a query parameter is as good as a key to what was
// paid for.
func isSecretParam(name string) bool {
	return name == paramSession || name == paramLink || name == paramDevice
}

// secretInText finds such parameters in text that is not an address as a whole,
// such as an error; also in an address that was escaped once more.
var secretInText = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(axra_(?:session|link|device)(?:=|%3[Dd]))[^&#"\s<>]+`)
})

// secretParams reports whether a query carries any secret.
func secretParams(rawQuery string) bool {
	if !strings.Contains(rawQuery, "axra_") {
		return false
	}
	for part := range strings.SplitSeq(rawQuery, "&") {
		if name, _, _ := strings.Cut(part, "="); isSecretParam(name) {
			return true
		}
	}
	return false
}

// redacted is the query with its secrets made unreadable.
func redacted(rawQuery string) string {
	if !secretParams(rawQuery) {
		return rawQuery
	}
	parts := strings.Split(rawQuery, "&")
	for i, part := range parts {
		if name, value, _ := strings.Cut(part, "="); value != "" && isSecretParam(name) {
			parts[i] = name + "=" + redaction
		}
	}
	return strings.Join(parts, "&")
}

// redactedAddress is an address, absolute or not, without readable secrets.
func redactedAddress(address string) string {
	path, query, found := strings.Cut(address, "?")
	if !found {
		return redactedText(address)
	}
	query, fragment, found := strings.Cut(query, "#")
	address = path + "?" + redacted(query)
	if found {
		address += "#" + fragment
	}
	return redactedText(address)
}

func redactedText(text string) string {
	if !strings.Contains(text, "axra_") {
		return text
	}
	return secretInText().ReplaceAllString(text, "${1}"+redaction)
}

// redactedHeader is a copy of a header for a log. An address may be in any field:
// Referer, Location, or what a proxy in front has added.
func redactedHeader(header http.Header) http.Header {
	header = header.Clone()
	for _, values := range header {
		for i := range values {
			values[i] = redactedAddress(values[i])
		}
	}
	return header
}

// cleanAddress is an address, absolute or not, as the browser wanted it.
func cleanAddress(address string) string {
	path, query, _ := strings.Cut(address, "?")
	if !strings.Contains(query, "axra_") {
		return address
	}
	query, fragment, hasFragment := strings.Cut(query, "#")
	if kept, found := cleanQuery(query); found {
		path += "?" + kept
	}
	if hasFragment {
		path += "#" + fragment
	}
	return path
}

// cleanReferer makes the page that led here one that may be told.
func cleanReferer(r *http.Request) {
	for i, referer := range r.Header["Referer"] {
		r.Header["Referer"][i] = cleanAddress(referer)
	}
}

// asWanted is the request for the handlers behind, as the browser wanted it: they, their
// logs and an application upstream have no use for what the gate has added, and not all
// of it may be told. What originalURL returns for r stays complete.
func asWanted(r *http.Request) *http.Request {
	ctx := r.Context()
	if original, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		original.URL = new(*original.URL)
		original.URL.RawQuery, _ = cleanQuery(original.URL.RawQuery)
		original.RequestURI = cleanAddress(original.RequestURI)
		ctx = context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, original)
		setOriginal(ctx, original.RequestURI, original.URL)
	}
	cleanReferer(r)
	clean := r.WithContext(ctx)
	clean.RequestURI = cleanAddress(r.RequestURI)
	return clean
}

// cleanOriginalPlaceholders makes placeholders of the original request speak of it as the
// browser wanted it.
func cleanOriginalPlaceholders(r *http.Request) {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		address := *original.URL
		address.RawQuery, _ = cleanQuery(address.RawQuery)
		setOriginal(r.Context(), cleanAddress(original.RequestURI), &address)
	}
}

// setOriginal overrides the placeholders of the original request, whose own source (the
// context that Caddy's replacer was made with) still has the full address. It never
// changes, so what is set never gets stale.
func setOriginal(ctx context.Context, uri string, address *url.URL) {
	replacer, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	prefixed := ""
	if address.RawQuery != "" {
		prefixed = "?" + address.RawQuery
	}
	replacer.Set("http.request.orig_uri", uri)
	replacer.Set("http.request.orig_uri.query", address.RawQuery)
	replacer.Set("http.request.orig_uri.prefixed_query", prefixed)
}

// discreet is for a request whose address carries secrets. It keeps Caddy from
// logging it, and returns the writer and the request to go on with. Once it is
// answered, call logged with the handler's error, deferred for the sake of panics:
// it writes what Caddy would have written, without the secrets. That error must not
// be returned to Caddy, which would log it with the address; answerError
// answers it.
//
// The size is what the handler wrote, before an `encode` around the gate; the fields of a
// `log_append` around the gate come too late, other than those it adds early. A
// `log_skip` counts where it comes before the gate, as the order of directives has
// it.
func (h *Handler) discreet(w http.ResponseWriter, r *http.Request) (out http.ResponseWriter, outR *http.Request, logged func(error)) {
	skip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool)
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil {
		return w, r, func(error) {}
	}
	line := &accessLine{
		logger: h.app.ctx.Logger(new(caddyhttp.App)), conf: server.Logs, skip: skip || !logsAccess(server.Logs, r.Host),
		errorRoutes: server.Errors != nil && len(server.Errors.Routes) > 0,
		r:           r, began: began(r), ResponseRecorder: caddyhttp.NewResponseRecorder(w, nil, nil),
	}
	line.request = zap.Object("request", line.loggable())
	outR = new(*r)
	if r.Body != nil {
		outR.Body = &countingBody{ReadCloser: r.Body, read: &line.read}
	}
	return line.ResponseRecorder, outR, line.write
}

// began is when Caddy received the request.
func began(r *http.Request) time.Time {
	if at, ok := caddyhttp.GetVar(r.Context(), "start_time").(time.Time); ok {
		return at
	}
	return time.Now()
}

// countingBody counts what is read. The transport of a proxy may still read when
// the answer has been written.
type countingBody struct {
	io.ReadCloser
	read *atomic.Int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// accessLine is a line of the access log in the making. It follows
// Server.logRequest and its kin in Caddy 2.11.
type accessLine struct {
	caddyhttp.ResponseRecorder
	logger      *zap.Logger // of the http app
	conf        *caddyhttp.ServerLogConfig
	skip        bool
	errorRoutes bool // the site's handle_errors answers errors
	r           *http.Request
	request     zap.Field
	began       time.Time
	read        atomic.Int64
}

func (l *accessLine) credentials() bool { return l.conf != nil && l.conf.ShouldLogCredentials }

// loggable is the request as it came, but for what must not be logged.
func (l *accessLine) loggable() caddyhttp.LoggableHTTPRequest {
	shown := l.r.Clone(l.r.Context())
	if original, ok := l.r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		shown.Method, shown.RemoteAddr, shown.RequestURI = original.Method, original.RemoteAddr, original.RequestURI
	}
	shown.RequestURI = redactedAddress(shown.RequestURI)
	shown.URL.RawQuery = redacted(shown.URL.RawQuery)
	shown.Header = redactedHeader(shown.Header)
	return caddyhttp.LoggableHTTPRequest{Request: shown, ShouldLogCredentials: l.credentials()}
}

// write writes the line of the access log and, for an error, that of the error log.
func (l *accessLine) write(err error) {
	duration := time.Since(l.began)
	if err != nil {
		l.writeError(err, duration)
	}
	if l.skip {
		return
	}
	message := "handled request"
	if nop, ok := caddyhttp.GetVar(l.r.Context(), "unhandled").(bool); ok && nop {
		message = "NOP"
	}
	fields := l.fields(duration)
	for _, logger := range l.loggers("log.access") {
		if checked := logger.Check(l.level(), message); checked != nil {
			checked.Write(fields...)
		}
	}
}

func (l *accessLine) level() zapcore.Level {
	if name, ok := caddyhttp.GetVar(l.r.Context(), caddyhttp.LogLevelVar).(string); ok {
		if level, err := zapcore.ParseLevel(name); err == nil && level >= zapcore.DebugLevel && level <= zapcore.ErrorLevel {
			return level
		}
	}
	if l.Status() >= http.StatusInternalServerError {
		return zapcore.ErrorLevel
	}
	return zapcore.InfoLevel
}

func (l *accessLine) fields(duration time.Duration) []zap.Field {
	user := ""
	if replacer, ok := l.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		user, _ = replacer.GetString("http.auth.user.id")
	}
	fields := []zap.Field{
		zap.Int64("bytes_read", l.read.Load()),
		zap.String("user_id", user),
		zap.Duration("duration", duration),
		zap.Int("size", l.Size()),
		zap.Int("status", l.Status()),
		zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{
			Header: redactedHeader(l.Header()), ShouldLogCredentials: l.credentials(),
		}),
	}
	for _, field := range extraFields(l.r) {
		if field.Type == zapcore.StringType {
			field.String = redactedText(field.String) // perhaps of {http.request.uri}
		}
		fields = append(fields, field)
	}
	return fields
}

// extraFields are what other handlers have added for the access log. Caddy gives
// them to nobody else; should it keep them differently one day, they are missing.
func extraFields(r *http.Request) []zap.Field {
	extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	if !ok || extra == nil {
		return nil
	}
	kept := reflect.ValueOf(extra).Elem().FieldByName("fields")
	if !kept.IsValid() || kept.Type() != reflect.TypeFor[[]zap.Field]() {
		return nil
	}
	fields, _ := reflect.TypeAssert[*[]zap.Field](reflect.NewAt(kept.Type(), kept.Addr().UnsafePointer()))
	return *fields
}

// writeError writes what Caddy would have written about an error that a handler
// has returned.
func (l *accessLine) writeError(err error, duration time.Duration) {
	status, message := http.StatusInternalServerError, err.Error()
	fields := []zap.Field{zap.Duration("duration", duration)}
	var handled caddyhttp.HandlerError
	if errors.As(err, &handled) {
		status = handled.StatusCode
		if handled.Err != nil {
			message = handled.Err.Error()
		}
		fields = append(fields, zap.Int("status", status), zap.String("err_id", handled.ID), zap.String("err_trace", handled.Trace))
	} else {
		fields = append(fields, zap.String("error", redactedText(message)))
	}
	level := zapcore.DebugLevel
	if status >= http.StatusInternalServerError && !l.errorRoutes {
		level = zapcore.ErrorLevel
	}
	for _, logger := range l.loggers("log.error") {
		if checked := logger.Check(level, redactedText(message)); checked != nil {
			checked.Write(fields...)
		}
	}
}

// loggers are those that Caddy would have chosen for the request.
func (l *accessLine) loggers(kind string) []*zap.Logger {
	logger := l.logger.Named(kind).With(l.request)
	if l.conf == nil {
		return []*zap.Logger{logger}
	}
	names := l.names()
	chosen := make([]*zap.Logger, 0, len(names))
	for _, name := range names {
		chosen = append(chosen, logger.Named(name)) // an empty name changes nothing
	}
	return chosen
}

// names are those that a `log_name` has set, else those of the host.
func (l *accessLine) names() []string {
	set, ok := caddyhttp.GetVar(l.r.Context(), caddyhttp.AccessLoggerNameVarKey).([]any)
	if !ok {
		return loggerNames(l.conf, l.r.Host)
	}
	names := make([]string, 0, len(set))
	for _, each := range set {
		if name, ok := each.(string); ok {
			names = append(names, name)
		}
	}
	return names
}

// loggerNames follows ServerLogConfig.getLoggerHosts.
func loggerNames(conf *caddyhttp.ServerLogConfig, host string) []string {
	host = strings.ToLower(withoutPort(host))
	if names, ok := conf.LoggerNames[host]; ok {
		return names
	}
	labels := strings.Split(host, ".")
	for i := range labels {
		if labels[i] == "" {
			continue
		}
		labels[i] = "*"
		if names, ok := conf.LoggerNames[strings.Join(labels, ".")]; ok {
			return names
		}
	}
	return []string{conf.DefaultLoggerName}
}

// logsAccess follows Server.shouldLogRequest.
func logsAccess(conf *caddyhttp.ServerLogConfig, host string) bool {
	if conf == nil {
		return false
	}
	host = withoutPort(host)
	for pattern := range conf.LoggerNames {
		if certmagic.MatchWildcard(host, pattern) {
			return true
		}
	}
	for _, pattern := range conf.SkipHosts {
		if certmagic.MatchWildcard(host, pattern) {
			return false
		}
	}
	return !conf.SkipUnmappedHosts
}

// withoutPort takes the port off as Caddy does for its logs.
func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// answerError answers an error that a handler behind has returned, unless something
// was written already, as Caddy would: by the site's handle_errors, if it has any.
// Caddy would log the address.
func answerError(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil || answered(w) {
		return
	}
	if server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server.Errors != nil && len(server.Errors.Routes) > 0 {
		if server.Errors.Routes.Compile(errorChainEnd).ServeHTTP(w, erring(server, r, err)) == nil || answered(w) {
			return
		}
	}
	w.WriteHeader(statusOf(err))
}

// errorChainEnd is what handle_errors ends in, as in Caddy.
var errorChainEnd = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
	err, _ := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	w.WriteHeader(statusOf(err))
	return nil
})

// erring is the request as handle_errors sees it: as it came, with the error.
func erring(server *caddyhttp.Server, r *http.Request, err error) *http.Request {
	r = server.Errors.WithError(r, err)
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		r.Method, r.RemoteAddr, r.RequestURI = original.Method, original.RemoteAddr, original.RequestURI
		*r.URL = *original.URL
	}
	return r
}

func statusOf(err error) int {
	var handled caddyhttp.HandlerError
	if errors.As(err, &handled) && handled.StatusCode >= 200 && handled.StatusCode <= 999 {
		return handled.StatusCode
	}
	return http.StatusInternalServerError
}

// answered reports whether a final header has been written, as the nearest recorder
// knows it.
func answered(w http.ResponseWriter) bool {
	for {
		if recorder, ok := w.(interface{ Status() int }); ok {
			status := recorder.Status()
			return status >= 200 || status == http.StatusSwitchingProtocols
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = wrapper.Unwrap()
	}
}
