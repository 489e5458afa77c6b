package server

import (
	"bytes"
	"io"
	"net/http"

	"github.com/coulomb/artifact-store/pkg/httpapi/packageform"
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
// then the manifest, if it was announced, and the files as a tar archive.
func (h *handler) publishPackage(w *serving.Writer, r *http.Request) error {
	if _, err := wholeOf(r); err != nil {
		return err
	}
	if err := wire.CheckBody(r); err != nil {
		return err
	}
	form, err := packageform.NewReader(http.MaxBytesReader(w.ResponseWriter, r.Body, packageform.MaxSize), r.Header.Get("Content-Type"))
	if err != nil {
		return problemMedia.problem("", wire.At("Content-Type", err.Error()))
	}
	req, sent, err := form.Package()
	if err != nil {
		return err
	}
	publication, err := h.registry.PublishFiles(r.Context(), req, sent, form.Next)
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
		ManifestSize   int64  `json:"manifestSize,omitempty" minimum:"1" maximum:"2097152" doc:"of the part manifest, in bytes; without it there is no such part"`
	} `json:"package"`
	Manifest []byte `json:"manifest,omitempty" contentType:"application/cbor" doc:"canonical CBOR; then files has only what the producer has not published before"`
	Files    []byte `json:"files" contentType:"application/x-tar"`
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
