# SPDX-License-Identifier: Apache-2.0
"""Makes what a request shows of what it sent: decodes its pictures, or finds them by their uuid.

Runs on threads beside the loop.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from penguin_ros.config import BufferConfig
from penguin_ros.dialogue import SaidMessage, Shown, ShownImage, ShownVideo
from penguin_ros.errors import ImageError
from penguin_ros.frame import Frame, Image
from penguin_ros.media.compressed import decode_compressed
from penguin_ros.media.convert import reduced
from penguin_ros.serving.content import Message, Picture, Video, unknown_uuids
from penguin_ros.serving.picture_store import PictureStore
from penguin_ros.serving.refusals import bad_request


@dataclass(frozen=True)
class PictureLimits:
    """How much one request may bring: `most` pictures, of `pixels` in all, which is checked before
    any is decoded that would exceed it.
    """

    buffer: BufferConfig
    most: int = 256
    pixels: int = 128 * 1024 * 1024


class PictureReader:
    """Reads the pictures of one request after the other; any thread."""

    def __init__(self, store: PictureStore, limits: PictureLimits) -> None:
        self._store = store
        self._limits = limits

    def dialogue(self, messages: tuple[Message, ...], client: str) -> tuple[SaidMessage, ...]:
        """Returns the messages with their pictures; Refusal for those that are unknown or unusable.
        Pictures that came with a uuid are kept for `client`, even when others are unknown.
        """
        pictures = [picture for message in messages for picture in message.pictures()]
        if len(pictures) > self._limits.most:
            raise bad_request(
                f'{len(pictures)} pictures, while {self._limits.most} are taken',
                'messages',
                'too_many_pictures',
            )
        images = self._images(pictures, client)
        return tuple(
            SaidMessage(message.role, tuple(_shown(part, images) for part in message.parts))
            for message in messages
        )

    def _images(self, pictures: list[Picture], client: str) -> dict[Picture, Image]:
        images: dict[Picture, Image] = {}
        left = self._limits.pixels
        for picture in pictures:
            if picture.content is None:
                continue
            image = images[picture] = self._known_or_decoded(picture, client, left)
            left -= image.shape[0] * image.shape[1]
        found = {
            picture: self._store.find(client, picture.uuid)
            for picture in pictures
            if picture.content is None
        }
        missing = [picture for picture, image in found.items() if image is None]
        if missing:
            raise unknown_uuids(missing)
        images.update({each: image for each, image in found.items() if image is not None})
        return images

    def _known_or_decoded(self, picture: Picture, client: str, most_pixels: int) -> Image:
        """Decodes a file, unless the one that came last under its uuid was the same."""
        if not picture.uuid:
            return self._decoded(picture, most_pixels)
        digest = hashlib.blake2b(picture.content or b'', digest_size=16).digest()
        image = self._store.find(client, picture.uuid, digest)
        if image is None:
            image = self._decoded(picture, most_pixels)
            self._store.keep(client, picture.uuid, image, digest)
        return image

    def _decoded(self, picture: Picture, most_pixels: int) -> Image:
        limits = self._limits.buffer
        most = min(limits.max_image_pixels, most_pixels)
        try:
            image = decode_compressed(picture.content, most, '', limits.white_level)
        except ImageError as error:
            raise bad_request(f'{picture.place}: {error}', picture.place, 'invalid_image') from None
        return reduced(image, limits.max_frame_pixels)


def _shown(part: str | Picture | Video, images: dict[Picture, Image]) -> str | Shown:
    if isinstance(part, str):
        return part
    if isinstance(part, Picture):
        return ShownImage(Frame(part.stamp_ns, images[part]))
    frames = tuple(Frame(each.stamp_ns, images[each], part.camera) for each in part.frames)
    return ShownVideo(frames, part.has_times, part.types, part.sizes, part.is_truncated)
