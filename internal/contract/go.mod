module github.com/caddy-axra/paywall/internal/contract

go 1.26.0

require github.com/getkin/kin-openapi v0.153.0

require golang.org/x/net v0.60.0 // indirect

require (
	github.com/caddy-axra/paywall v0.0.0
	github.com/go-openapi/jsonpointer v0.22.5 // indirect
	github.com/go-openapi/swag/jsonname v0.25.5 // indirect
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3 // indirect
	go.yaml.in/yaml/v4 v4.0.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/caddy-axra/paywall => ../..
