"""The one public door of the shop: routes, refuses and forwards, and knows nothing of the business."""
