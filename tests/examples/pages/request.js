// The request of the pages, for one of the sandbox's templates.

import { image, text } from "custom-template-jobs";

export const values = { headline: "Slow Sundays", offer: "Second cup free", product_image: "https://example.com/coffee.jpg" };

export const request = {
  template_id: "7e3a1c52-0b6d-4f0e-9a41-5d2c8b7f0001",
  variables: { headline: text(values.headline), offer: text(values.offer), product_image: image(values.product_image) },
};
