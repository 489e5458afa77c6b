package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/jsonbody"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// putFile streams one file's body to the registry.
func (h *handler) putFile(w *serving.Writer, r *http.Request) error {
	content, err := wholeOf(r)
	if err != nil {
		return err
	}
	file, err := h.registry.PutFile(r.Context(), r.PathValue("id"), r.PathValue("path"), content)
	if err != nil {
		return err
	}
	w.Header().Set(wire.ReprDigest, wire.FormatDigests(file.Digests))
	return sendJSON(w, http.StatusOK, file)
}

// wholeOf is contentOf of a body that is not a piece of something: a client that
// sends pieces to the wrong address must not have the first one stored as a file.
func wholeOf(r *http.Request) (registry.Content, error) {
	content, err := contentOf(r)
	if err != nil {
		return content, err
	}
	if len(r.Header.Values(wire.UploadOffset)) > 0 {
		return content, registry.Invalid(wire.UploadOffset, "must be absent: the body is sent whole; PATCH adds bytes to a file")
	}
	if len(r.Header.Values(wire.UploadComplete)) > 0 {
		complete, err := wire.ParseBool(wire.UploadComplete, r.Header.Get(wire.UploadComplete))
		if err == nil && !complete {
			err = registry.Invalid(wire.UploadComplete, "must be ?1 or absent: the body is sent whole; PATCH adds bytes to a file")
		}
		if err != nil {
			return content, err
		}
	}
	if len(r.Header.Values(wire.UploadLength)) == 0 {
		return content, nil
	}
	length, err := uploadLength(r)
	switch {
	case err != nil:
		return content, err
	case content.Size == storage.UnknownSize:
		return content, registry.Invalid(wire.UploadLength, "requires Content-Length: the body is sent whole")
	case content.Size != length:
		return content, registry.Invalid(wire.UploadLength, "is %d, and Content-Length is %d: the body is sent whole; PATCH adds bytes to a file", length, content.Size)
	}
	return content, nil
}

// contentOf reads what the request says about its body.
func contentOf(r *http.Request) (registry.Content, error) {
	content := registry.Content{Reader: r.Body, Size: r.ContentLength}
	if r.ContentLength < 0 {
		content.Size = storage.UnknownSize
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return content, problemMedia.problem("bytes are stored as they are sent", wire.At("Content-Encoding", "must be absent: content codings are not decoded"))
	}
	if r.Header.Get("Content-Range") != "" {
		return content, registry.Invalid("Content-Range", "must be absent: a file is sent whole (RFC 9110, section 14.5)")
	}
	var err error
	if content.Digests, err = wire.DeclaredDigests(r.Header); err != nil {
		return content, err
	}
	content.Executable, err = wire.QueryBool(r.URL.Query(), "executable")
	return content, err
}

// publish seals a session. A body is the manifest that the client computed.
func (h *handler) publish(w *serving.Writer, r *http.Request) error {
	leave, err := h.enter(w, r)
	if err != nil {
		return err
	}
	defer leave()
	if err := wire.CheckBody(r); err != nil {
		return err
	}
	sent, err := serving.ReadAll(http.MaxBytesReader(w.ResponseWriter, r.Body, manifest.MaxSize), min(r.ContentLength, manifest.MaxSize))
	if err != nil {
		return err
	}
	if len(sent) == 0 {
		sent = nil
	} else if !wire.IsMediaType(r.Header.Get("Content-Type"), "application/cbor", manifest.MediaType) {
		return problemMedia.problem("", wire.At("Content-Type", "must be application/cbor for a manifest"))
	}
	id := r.PathValue("id")
	if older := h.appends.Find(id, ""); len(older) > 0 {
		if _, err := h.registry.GetUpload(r.Context(), id); err != nil {
			return err
		}
		serving.EndAll(r.Context(), older) // else the answer would not count what they brought
	}
	publication, err := h.registry.Publish(r.Context(), id, sent)
	if err != nil {
		return err
	}
	w.Header().Set("Location", wire.PackageAddress(publication.PackageRef))
	return sendJSON(w, http.StatusCreated, publication)
}

// enter waits for a place for a large body. Whoever has no such session, or may
// not use it, does not get that far.
func (h *handler) enter(w *serving.Writer, r *http.Request) (leave func(), err error) {
	if !h.medium.Needs(r) {
		return func() {}, nil
	}
	// A bundle without files checks both. GetUpload would count the session's files.
	nothing := func() (registry.NamedContent, error) { return registry.NamedContent{}, io.EOF }
	if _, err := h.registry.PutFiles(r.Context(), r.PathValue("id"), nothing); err != nil && !errors.Is(err, registry.ErrPublished) {
		return nil, err
	}
	if h.large.Needs(r) {
		return h.large.Enter(w, r)
	}
	return h.medium.Enter(w, r)
}

// declaration is the body of a declaration as it is sent. Digests are text
// here, so that an error names the field of a malformed one.
type declaration struct {
	Files []declaredFile `json:"files"`
}

type declaredFile struct {
	Path    string `json:"path"`
	Size    *int64 `json:"size,omitempty" minimum:"0"`
	Digests struct {
		SHA256 string `json:"sha256,omitempty" pattern:"^(sha256:[0-9a-f]{64})?$"`
		BLAKE3 string `json:"blake3,omitempty" pattern:"^(blake3:[0-9a-f]{64})?$"`
	} `json:"digests,omitzero"`
	Executable bool   `json:"executable,omitempty"`
	MediaType  string `json:"mediaType,omitempty"`
}

// declareFiles reads the files one by one, so that 100,000 of them are never in
// memory as text, as generic values and as structs at once.
func (h *handler) declareFiles(w *serving.Writer, r *http.Request) error {
	if contentType := r.Header.Get("Content-Type"); contentType != "" && !wire.IsMediaType(contentType, "application/json") {
		return problemMedia.problem("", wire.At("Content-Type", "must be application/json"))
	}
	leave, err := h.enter(w, r)
	if err != nil {
		return err
	}
	defer leave()
	if err := wire.CheckBody(r); err != nil {
		return err
	}
	files, err := readDeclaration(http.MaxBytesReader(w.ResponseWriter, r.Body, MaxDeclareBody))
	if err != nil {
		return err
	}
	declared, err := h.registry.DeclareFiles(r.Context(), r.PathValue("id"), files)
	if err != nil {
		return err
	}
	if declared.Send == nil {
		declared.Send = []string{}
	}
	return sendJSON(w, http.StatusOK, declared)
}

func readDeclaration(body io.Reader) ([]registry.FileDeclaration, error) {
	decoder := jsonbody.NewDecoder(&serving.UTF8Reader{From: &serving.EscapeReader{From: body}})
	if err := jsonbody.Expect(decoder, json.Delim('{'), "body", "an object with files"); err != nil {
		return nil, err
	}
	if err := jsonbody.Expect(decoder, "files", "body", `an object whose only field is "files"`); err != nil {
		return nil, err
	}
	if err := jsonbody.Expect(decoder, json.Delim('['), "files", "a list"); err != nil {
		return nil, err
	}
	files := []registry.FileDeclaration{}
	var sent declaredFile
	fields := sent.fields()
	for decoder.More() {
		field := fmt.Sprintf("files[%d]", len(files))
		if len(files) == registry.MaxFilesInOneUpload {
			return nil, registry.Invalid("files", "must be at most %d", registry.MaxFilesInOneUpload)
		}
		sent = declaredFile{}
		if err := jsonbody.Object(decoder, field, fields); err != nil {
			return nil, err
		}
		file, err := sent.convert(field)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	if err := jsonbody.Expect(decoder, json.Delim(']'), "files", "a list"); err != nil {
		return nil, err
	}
	if err := jsonbody.Expect(decoder, json.Delim('}'), "body", `an object whose only field is "files"`); err != nil {
		return nil, err
	}
	switch _, err := decoder.Token(); {
	case errors.Is(err, io.EOF):
		return files, nil
	case errors.Is(err, registry.ErrInvalid): // of the reader
		return nil, err
	}
	return nil, registry.Invalid("body", "must be one JSON object")
}

func (f *declaredFile) fields() []jsonbody.Field {
	return []jsonbody.Field{
		{Name: "path", Into: &f.Path}, {Name: "size", Into: &f.Size},
		{Name: "digests", Into: []jsonbody.Field{{Name: "sha256", Into: &f.Digests.SHA256}, {Name: "blake3", Into: &f.Digests.BLAKE3}}},
		{Name: "executable", Into: &f.Executable}, {Name: "mediaType", Into: &f.MediaType},
	}
}

func (f *declaredFile) convert(field string) (registry.FileDeclaration, error) {
	file := registry.FileDeclaration{Path: f.Path, Size: f.Size, Executable: f.Executable, MediaType: f.MediaType}
	for _, d := range []struct {
		field, text string
		algorithm   digest.Algorithm
		into        *digest.Digest
	}{
		{field + ".digests.sha256", f.Digests.SHA256, digest.SHA256, &file.Digests.SHA256},
		{field + ".digests.blake3", f.Digests.BLAKE3, digest.BLAKE3, &file.Digests.BLAKE3},
	} {
		if d.text == "" {
			continue
		}
		parsed, err := digest.Parse(d.text)
		if err != nil || parsed.Algorithm() != d.algorithm {
			return registry.FileDeclaration{}, registry.Invalid(d.field, "%.80q is not of the form %s:<64 hex digits>", d.text, d.algorithm)
		}
		*d.into = parsed
	}
	return file, nil
}

func sendJSON(w *serving.Writer, status int, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding the response: %w", err)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	return err
}

func sendText(w *serving.Writer, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := io.WriteString(w, text)
	return err
}
