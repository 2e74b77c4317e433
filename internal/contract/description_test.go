package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// anyPath is the one path of the description: a gate answers at any address.
const anyPath = "/{path}"

func readDescription(t *testing.T) *openapi3.T {
	t.Helper()
	description, err := openapi3.NewLoader().LoadFromFile(filepath.Join("..", "..", "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return description
}

func TestTheDescriptionIsValid(t *testing.T) {
	description := readDescription(t)
	if err := description.Validate(t.Context(), openapi3.EnableSchemaFormatValidation()); err != nil {
		t.Error(err)
	}
	item := description.Paths.Value(anyPath)
	if description.Paths.Len() != 1 || item == nil || len(item.Operations()) != 2 || item.Get == nil || item.Post == nil {
		t.Errorf("want GET and POST of %s", anyPath)
	}
	for name, schema := range description.Components.Schemas {
		if schema.Value.Description == "" {
			t.Errorf("%s is not described", name)
		}
		for property, ref := range schema.Value.Properties {
			if ref.Value.Description == "" {
				t.Errorf("%s.%s is not described", name, property)
			}
		}
		if has := schema.Value.AdditionalProperties.Has; schema.Value.Type.Is("object") && (has == nil || *has) {
			t.Errorf("%s is open: a new member would not be noticed", name)
		}
	}
}

// checking sends requests and holds them and their answers to the description.
type checking struct {
	t           *testing.T
	description *openapi3.T
}

func init() {
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	// The library knows date-time by itself.
	openapi3.DefineStringFormatValidator("uri", openapi3.NewCallbackValidator(func(address string) error {
		parsed, err := url.Parse(address)
		if err == nil && (parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https") {
			err = fmt.Errorf("%q is no absolute address", address)
		}
		return err
	}))
}

// RoundTrip reports a difference as the test's failure, and goes on.
func (c checking) RoundTrip(request *http.Request) (*http.Response, error) {
	exchange := c.exchange(request)
	if err := openapi3filter.ValidateRequest(request.Context(), exchange); err != nil {
		c.t.Errorf("%s: the request is not as described: %v", name(request), err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	if err := c.check(exchange, response, body); err != nil {
		c.t.Errorf("%s: the answer %d is not as described: %v\n%.1000s", name(request), response.StatusCode, err, body)
	}
	return response, nil
}

func name(request *http.Request) string {
	return fmt.Sprintf("%s %.100s", request.Method, request.URL.RequestURI())
}

func (c checking) exchange(request *http.Request) *openapi3filter.RequestValidationInput {
	item := c.description.Paths.Value(anyPath)
	return &openapi3filter.RequestValidationInput{
		Request:    request,
		PathParams: map[string]string{"path": strings.TrimPrefix(request.URL.Path, "/")},
		Route: &routers.Route{
			Spec: c.description, Path: anyPath, PathItem: item, Method: request.Method, Operation: item.GetOperation(request.Method),
		},
		Options: &openapi3filter.Options{
			AuthenticationFunc:                openapi3filter.NoopAuthenticationFunc,
			RejectWhenRequestBodyNotSpecified: true,
			IncludeResponseStatus:             true,
			MultiError:                        true,
		},
	}
}

func (c checking) check(exchange *openapi3filter.RequestValidationInput, response *http.Response, body []byte) error {
	if exchange.Route.Operation.Responses.Status(response.StatusCode) == nil {
		return fmt.Errorf("no such status") // of some, the library asks nothing
	}
	err := openapi3filter.ValidateResponse(exchange.Request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: exchange,
		Status:                 response.StatusCode,
		Header:                 response.Header,
		Body:                   io.NopCloser(bytes.NewReader(body)),
		Options:                exchange.Options,
	})
	if err != nil {
		return err
	}
	if exchange.Request.URL.Query().Has("axra_status") && response.StatusCode == http.StatusOK {
		// Where the resource may be any JSON, so may the answer; this one is not.
		return c.conforms("CheckoutStatus", body)
	}
	return statusIsRepeated(response, body)
}

// conforms holds JSON to a schema of the description.
func (c checking) conforms(schema string, body []byte) error {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	return c.description.Components.Schemas[schema].Value.VisitJSON(value, openapi3.EnableJSONSchema2020())
}

// statusIsRepeated: problem details say the status of their answer (RFC 9457,
// section 3.1.2).
func statusIsRepeated(response *http.Response, body []byte) error {
	if response.Header.Get("Content-Type") != "application/problem+json" {
		return nil
	}
	var problem struct{ Status int }
	if err := json.Unmarshal(body, &problem); err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	if problem.Status != response.StatusCode {
		return fmt.Errorf("the problem says status %d", problem.Status)
	}
	return nil
}
