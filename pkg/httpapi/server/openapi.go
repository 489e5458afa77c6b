package server

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// The operations that are served without huma, documented beside those that
// are. Method and Path are the route itself: what is not here is not served.
var (
	declareOperation = plain(http.MethodPost, "/v1/uploads/{id}/files", "declareFiles", "Declare files; answers which of them need their bytes sent", "uploads",
		parameter("path", "id", "of the upload session"),
		takes[declaration]("application/json", true), answers[registry.Declared](200, "application/json"))
	putFileOperation = plain(http.MethodPut, uploadFilePattern, "putFile", "Stream one file's bytes; they are durable when this is answered", "uploads",
		parameter("path", "id", "of the upload session"),
		parameter("path", "path", "of the file in the package, slashes as themselves"),
		parameter("query", "executable", "true or false; for a file that was not declared"),
		parameter("header", wire.ReprDigest, "RFC 9530: sha-256=:…: and blake3=:…:"),
		takesBytes("application/octet-stream", true), answers[registry.UploadedFile](200, "application/json"))
	bundleOperation = plain(http.MethodPost, "/v1/uploads/{id}/bundle", "putFiles", "Send many files as one tar archive", "uploads",
		parameter("path", "id", "of the upload session"),
		takesBytes(wire.TarMediaType, true), answers[registry.Bundled](200, "application/json"))
	progressOperation = plain(http.MethodHead, uploadFilePattern, "fileProgress", "How much of a file has arrived (draft-ietf-httpbis-resumable-upload-15)", "uploads",
		parameter("path", "id", "of the upload session"), parameter("path", "path", "of the file in the package, slashes as themselves"),
		answersNothing(wire.UploadOffset, wire.UploadComplete, wire.UploadLength))
	appendOperation = plain(http.MethodPatch, uploadFilePattern, "appendFile", "Send the next bytes of a file (draft-ietf-httpbis-resumable-upload-15)", "uploads",
		parameter("path", "id", "of the upload session"), parameter("path", "path", "of the file in the package, slashes as themselves"),
		parameter("header", wire.UploadOffset, "where these bytes begin"), parameter("header", wire.UploadComplete, "?1: they are the last, ?0: more will come"),
		parameter("header", wire.ReprDigest, "of the whole file"),
		takesBytes(wire.PartialUpload, true), answers[registry.FileProgress](200, "application/json"))
	publishOperation = plain(http.MethodPost, "/v1/uploads/{id}/publish", "publishUpload", "Seal the session; again, the same answer", "uploads",
		parameter("path", "id", "of the upload session"),
		takesBytes("application/cbor", false), answers[registry.Publication](201, "application/json"))
	getFileOperation = plain(http.MethodGet, packageFilePattern, "getPackageFile", "One file of a package, by its path", "packages",
		append(fileParameters, parameter("query", "describe", "true: what the package says of the file, as JSON"), answersBlob(true))...)
	headFileOperation    = plain(http.MethodHead, packageFilePattern, "headPackageFile", "Size and digests of a file of a package", "packages", append(fileParameters, answersBlob(false))...)
	getManifestOperation = plain(http.MethodGet, "/v1/manifests/{digest}", "getManifest", "A manifest's canonical CBOR, or with Accept: application/json what it says", "packages",
		parameter("path", "digest", "sha256:…"), holderParameter, answersBytes(200, "application/cbor"), answers[manifest.Manifest](200, "application/json"))
	getBlobOperation = plain(http.MethodGet, "/v1/blobs/{digest}", "getBlob", "A blob's bytes", "blobs",
		parameter("path", "digest", "sha256:… or blake3:…"), holderParameter, parameter("header", "Range", "one range of bytes"),
		parameter("header", "If-None-Match", "an ETag"), parameter("header", "If-Range", "an ETag"), answersBlob(true))
	headBlobOperation = plain(http.MethodHead, "/v1/blobs/{digest}", "headBlob", "A blob's size and digests", "blobs",
		parameter("path", "digest", "sha256:… or blake3:…"), holderParameter, answersBlob(false))
	eventsOperation = plain(http.MethodGet, "/v1/events", "readEvents", "A page of the log, or with Accept: text/event-stream a live stream", "events",
		parameter("query", "after", "position; events behind it"), parameter("query", "limit", "events in a page, at most 1000; 0 is 100"),
		parameter("header", "Last-Event-ID", "<log id>:<position>, resumes a stream"),
		answers[registry.EventPage](200, "application/json"), answersBytes(200, "text/event-stream"))
	verifyOperation = plain(http.MethodPost, "/v1/backends/{id}/verifications", "verifyBackend", "Re-read the objects of a backend; a line of progress at most five times a second", "backends",
		parameter("path", "id", "the backend's name or its id"),
		parameter("query", "mode", "full (usual), rolling or failed"), parameter("query", "rollingPeriod", "in what time all is read once, as 720h"),
		parameter("query", "rollingInterval", "the time until the next run, as 24h"), parameter("query", "concurrency", "objects read at once, 1 to 64"),
		parameter("query", "bandwidth", "bounds what is read, from 65536 on"), parameter("query", "timeLimit", "after what time nothing more is begun, as 6h"),
		answers[wire.VerifyLine](200, "application/x-ndjson"), marked)
	sweepOperation = plain(http.MethodPost, "/v1/backends/{id}/sweeps", "sweepBackend", "Remove what was left behind in a backend; a line of progress at most five times a second", "backends",
		parameter("path", "id", "the backend's name or its id"), parameter("query", "dryRun", "true: only list it"), answers[wire.SweepLine](200, "application/x-ndjson"), marked)
	livezOperation   = plain(http.MethodGet, "/livez", "livez", "200 while the process serves", "server", answersBytes(200, "text/plain"))
	readyzOperation  = plain(http.MethodGet, "/readyz", "readyz", "200 when requests may be sent here, else a 503 with the reason", "server", answersBytes(200, "text/plain"))
	metricsOperation = plain(http.MethodGet, "/metrics", "metrics", "Prometheus metrics", "server", answersBytes(200, "text/plain"))
	openapiOperation = plain(http.MethodGet, "/openapi.json", "openapi", "This document", "server", answersBytes(200, "application/openapi+json"))

	holderParameter = parameter("query", "producer", "one whose package has the blob: quicker, and sure where many have it")

	fileParameters = []detail{
		parameter("path", "producer", ""), parameter("path", "name", ""), parameter("path", "version", ""),
		parameter("path", "path", "of the file in the package, slashes as themselves"),
		parameter("header", "Range", "one range of bytes"), parameter("header", "If-None-Match", "an ETag"), parameter("header", "If-Range", "an ETag"),
	}
)

var securitySchemes = map[string]*huma.SecurityScheme{
	"bearer": {Type: "http", Scheme: "bearer", Description: "a ServiceAccount's token with the server's audience, or a static token of its token file"},
	"basic":  {Type: "http", Scheme: "basic", Description: "the same token as the password; the user's name is of no account"},
}

// security lists what every operation asks for that is not open to everybody.
func (h *handler) security() []map[string][]string {
	if h.opts.Authenticator == nil {
		return nil
	}
	return []map[string][]string{{"bearer": {}}, {"basic": {}}}
}

// detail adds one thing to an operation. Schemas are filled in by document, which has their registry.
type detail func(op *huma.Operation)

func plain(method, path, id, summary, tag string, details ...detail) huma.Operation {
	op := huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag}, Responses: map[string]*huma.Response{}}
	for _, add := range details {
		add(&op)
	}
	return op
}

func parameter(in, name, words string) detail {
	return func(op *huma.Operation) {
		op.Parameters = append(op.Parameters, &huma.Param{In: in, Name: name, Description: words, Required: in == "path", Schema: &huma.Schema{Type: huma.TypeString}})
	}
}

// typed marks a schema that is made from T when there is a schema registry.
const typed = "go-type"

func schemaOf[T any]() *huma.Schema {
	return &huma.Schema{Extensions: map[string]any{typed: reflect.TypeFor[T]()}}
}

func takes[T any](contentType string, required bool) detail {
	return func(op *huma.Operation) {
		op.RequestBody = &huma.RequestBody{Required: required, Content: map[string]*huma.MediaType{contentType: {Schema: schemaOf[T]()}}}
	}
}

func takesBytes(contentType string, required bool) detail {
	return func(op *huma.Operation) {
		op.RequestBody = &huma.RequestBody{Required: required, Content: map[string]*huma.MediaType{contentType: {}}}
	}
}

func answers[T any](status int, contentType string) detail {
	return answer(status, contentType, schemaOf[T]())
}

func answersBytes(status int, contentType string) detail { return answer(status, contentType, nil) }

func answer(status int, contentType string, schema *huma.Schema) detail {
	return func(op *huma.Operation) {
		response := op.Responses[strconv.Itoa(status)]
		if response == nil {
			response = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{}}
			op.Responses[strconv.Itoa(status)] = response
		}
		response.Content[contentType] = &huma.MediaType{Schema: schema}
	}
}

func answersNothing(headers ...string) detail {
	return func(op *huma.Operation) {
		response := &huma.Response{Description: http.StatusText(http.StatusNoContent), Headers: map[string]*huma.Param{}}
		for _, name := range headers {
			response.Headers[name] = &huma.Param{Schema: &huma.Schema{Type: huma.TypeString}}
		}
		op.Responses["204"] = response
	}
}

func answersBlob(withBody bool) detail {
	return func(op *huma.Operation) {
		text := &huma.Schema{Type: huma.TypeString}
		headers := map[string]*huma.Param{"ETag": {Schema: text}, wire.ReprDigest: {Schema: text}, "Accept-Ranges": {Schema: text}, "Cache-Control": {Schema: text}}
		ok := &huma.Response{Description: "the whole", Headers: headers}
		op.Responses["200"], op.Responses["304"] = ok, &huma.Response{Description: "If-None-Match names it"}
		if withBody {
			ok.Content = map[string]*huma.MediaType{"application/octet-stream": {}}
			op.Responses["206"] = &huma.Response{Description: "the range that was asked for", Headers: headers, Content: ok.Content}
			op.Responses["416"] = &huma.Response{Description: "the range lies outside", Content: problemContent}
		}
	}
}

// marked documents the answer to who would have a place looked through that is
// busy, or not the backend's.
func marked(op *huma.Operation) {
	op.Responses["409"] = &huma.Response{Content: problemContent,
		Description: "conflict: one is running, or the backend is ReadOnly. foreign-marker, no-marker: the identity object in the place is not this backend's, or is not there; detail says which place and whose it is"}
}

var problemContent = map[string]*huma.MediaType{"application/problem+json": {Schema: schemaOf[wire.Problem]()}}

// document adds a plain operation to the specification.
func document(api huma.API, op huma.Operation) {
	op.Path = strings.ReplaceAll(op.Path, "{path...}", "{path}")
	api.OpenAPI().AddOperation(&op)
}

// specification encodes the document. huma has described its own error type
// where ours is sent, and schemaOf left types where schemas belong.
func specification(api huma.API) []byte {
	document := api.OpenAPI()
	schemas := document.Components.Schemas
	fill := func(content map[string]*huma.MediaType) map[string]*huma.MediaType {
		filled := make(map[string]*huma.MediaType, len(content))
		for contentType, media := range content {
			if media.Schema != nil && media.Schema.Extensions[typed] != nil {
				media = &huma.MediaType{Schema: schemas.Schema(media.Schema.Extensions[typed].(reflect.Type), true, "")}
			}
			filled[contentType] = media
		}
		return filled
	}
	for _, item := range document.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Head, item.Put, item.Post, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			responses := make(map[string]*huma.Response, len(op.Responses)+1)
			for status, response := range op.Responses {
				filled := *response
				filled.Content = fill(response.Content)
				responses[status] = &filled
			}
			responses["default"] = &huma.Response{Description: "a problem (RFC 9457)", Content: fill(problemContent)}
			op.Responses = responses
			if open[op.Path] {
				op.Security = []map[string][]string{}
			}
			if op.RequestBody != nil {
				op.RequestBody = &huma.RequestBody{Required: op.RequestBody.Required, Content: fill(op.RequestBody.Content)}
			}
		}
	}
	delete(schemas.Map(), "ErrorModel")
	delete(schemas.Map(), "ErrorDetail")
	encoded, err := json.Marshal(document)
	if err != nil {
		panic(err) // made of the tables above only; the tests build it
	}
	return encoded
}
