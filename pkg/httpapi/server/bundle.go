package server

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/formbody"
	"github.com/coulomb/artifact-store/pkg/httpapi/jsonbody"
	"github.com/coulomb/artifact-store/pkg/httpapi/tarbody"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
)

// putFiles takes a tar archive: many small files in one request.
func (h *handler) putFiles(w *serving.Writer, r *http.Request) error {
	if !wire.IsMediaType(r.Header.Get("Content-Type"), wire.TarMediaType) {
		return problemMedia.problem("", wire.At("Content-Type", "must be "+wire.TarMediaType))
	}
	if _, err := wholeOf(r); err != nil { // neither a coding nor a piece
		return err
	}
	if err := wire.CheckBody(r); err != nil {
		return err
	}
	bundled, err := h.registry.PutFiles(r.Context(), r.PathValue("id"), tarbody.NewReader(r.Body).Next)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil { // the last record is padded with zeros
		return err
	}
	return sendJSON(w, http.StatusOK, bundled)
}

// publishPackage takes a small package as one form: what a session would be opened with,
// then the files as a tar archive.
func (h *handler) publishPackage(w *serving.Writer, r *http.Request) error {
	if _, err := wholeOf(r); err != nil {
		return err
	}
	if err := wire.CheckBody(r); err != nil {
		return err
	}
	body := http.MaxBytesReader(w.ResponseWriter, r.Body, maxPackageBody)
	form, err := formbody.NewReader(body, r.Header.Get("Content-Type"))
	if err != nil {
		return problemMedia.problem("", wire.At("Content-Type", err.Error()))
	}
	req, manifestDigest, err := readPackage(form)
	if err != nil {
		return err
	}
	files, err := form.Part("files", wire.TarMediaType)
	if err != nil {
		return err
	}
	archive := tarbody.NewReader(files)
	// Nothing is published before the whole body is here, and right.
	publication, err := h.registry.PublishFiles(r.Context(), req, manifestDigest, func() (registry.NamedContent, error) {
		file, err := archive.Next()
		if err != io.EOF {
			return file, err
		}
		if _, err := io.Copy(io.Discard, files); err != nil { // the last record is padded with zeros
			return file, err
		}
		if err := form.End(); err != nil {
			return file, err
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return file, err
		}
		return file, io.EOF
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", wire.PackageAddress(publication.PackageRef))
	return sendJSON(w, http.StatusCreated, publication)
}

// packageForm documents the parts of that form, in their order.
type packageForm struct {
	Package struct {
		registry.OpenUpload
		ManifestDigest string `json:"manifestDigest,omitempty" pattern:"^(sha256:[0-9a-f]{64})?$" doc:"what the manifest must be"`
	} `json:"package"`
	Files []byte `json:"files" contentType:"application/x-tar"`
}

// readPackage reads the part that says which package it is.
func readPackage(form *formbody.Reader) (req registry.OpenUpload, manifestDigest digest.Digest, err error) {
	part, err := form.Part("package", "application/json")
	if err != nil {
		return req, manifestDigest, err
	}
	text, err := io.ReadAll(io.LimitReader(part, maxPackageText+1))
	switch {
	case err != nil:
		return req, manifestDigest, err
	case len(text) > maxPackageText:
		return req, manifestDigest, registry.Invalid("package", "must be at most %d bytes: larger annotations need an upload session", maxPackageText)
	}
	if err := serving.CheckJSON(text, maxPackageValues, maxPackageDepth); err != nil {
		return req, manifestDigest, registry.Invalid("package", "%v", err)
	}
	var tier, sum string
	decoder := jsonbody.NewDecoder(bytes.NewReader(text))
	if err := jsonbody.Object(decoder, "package", []jsonbody.Field{
		{Name: "producer", Into: &req.Producer}, {Name: "name", Into: &req.Name}, {Name: "version", Into: &req.Version},
		{Name: "retentionClass", Into: &req.RetentionClass}, {Name: "tier", Into: &tier}, {Name: "mediaType", Into: &req.MediaType},
		{Name: "annotations", Into: &req.Annotations}, {Name: "manifestDigest", Into: &sum},
	}); err != nil {
		return req, manifestDigest, withoutPart(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return req, manifestDigest, registry.Invalid("package", "must be one JSON object")
	}
	req.Tier = registry.Tier(tier)
	if sum == "" {
		return req, manifestDigest, nil
	}
	if manifestDigest, err = digest.Parse(sum); err != nil || manifestDigest.Algorithm() != digest.SHA256 {
		err = registry.Invalid("manifestDigest", "%.80q is not of the form sha256:<64 hex digits>", sum)
	}
	return req, manifestDigest, err
}

// withoutPart names a field of the package as the registry does.
func withoutPart(err error) error {
	var invalid *registry.InvalidError
	if errors.As(err, &invalid) {
		return &registry.InvalidError{Field: strings.TrimPrefix(invalid.Field, "package."), Message: invalid.Message}
	}
	return err
}

// checkSmallBody is wire.CheckBody for a body that is about to be read as a whole.
func checkSmallBody(r *http.Request) error {
	before := r.Body
	if err := wire.CheckBody(r); err != nil || r.Body == before {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, MaxJSONBody+1)) // more is refused by its size
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(data), r.Body))
	return err
}
