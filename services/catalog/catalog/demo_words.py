"""What the demo shop sells: an invented assortment for an Indian market, shelf by shelf."""

from dataclasses import dataclass

SIZES = ("S", "M", "L", "XL")


@dataclass(frozen=True, slots=True)
class Shelf:
    """A leaf of the category tree and what its products are made of. Prices in rupees."""

    path: tuple[str, str, str]
    brands: tuple[str, ...]
    qualities: tuple[str, ...]
    nouns: tuple[str, ...]
    prices: tuple[int, int]
    options: dict[str, tuple[str, ...]]
    material: tuple[str, ...]
    blurb: str


_LOOMS = ("Varnika", "Kaveri Loom", "Sohini", "Aangan", "Nilgiri Thread")
_SOUND = ("Tarang", "Pratham Audio", "Voltara", "Dhvani Works")
_HEARTH = ("Rasoi Ghar", "Mitti & Co", "Agni Steel", "Chulha House")
_GREEN = ("Vanya Naturals", "Tulsi Lane", "Ojas", "Himgiri")
_COLOURS = ("Indigo", "Mustard", "Maroon", "Ivory", "Bottle Green")

SHELVES: tuple[Shelf, ...] = (
    Shelf(
        ("Fashion", "Women", "Kurtas"),
        _LOOMS,
        ("Block Print", "Chikankari", "Handloom", "Bandhani", "Ajrakh"),
        ("Straight Kurta", "A-Line Kurta", "Anarkali Kurta"),
        (799, 2899),
        {"size": SIZES, "colour": _COLOURS},
        ("Cotton", "Rayon", "Linen blend"),
        "Breathable, pre-washed and cut for long days; side pockets included.",
    ),
    Shelf(
        ("Fashion", "Women", "Sarees"),
        _LOOMS,
        ("Banarasi", "Kanchipuram", "Chanderi", "Jamdani", "Maheshwari"),
        ("Silk Saree", "Cotton Saree"),
        (1499, 12999),
        {"colour": _COLOURS},
        ("Silk", "Cotton silk", "Mulmul cotton"),
        "Woven with a contrast border; comes with an unstitched blouse piece.",
    ),
    Shelf(
        ("Fashion", "Women", "Dupattas"),
        _LOOMS,
        ("Phulkari", "Leheriya", "Kantha", "Gota Patti"),
        ("Dupatta", "Stole"),
        (399, 1799),
        {"colour": _COLOURS},
        ("Chiffon", "Cotton", "Georgette"),
        "Light enough to drape all day, with hand-finished edges.",
    ),
    Shelf(
        ("Fashion", "Men", "Shirts"),
        _LOOMS,
        ("Khadi", "Oxford", "Linen", "Checked"),
        ("Casual Shirt", "Short Kurta", "Formal Shirt"),
        (699, 2299),
        {"size": SIZES, "colour": ("White", "Sky Blue", "Olive")},
        ("Khadi cotton", "Linen", "Cotton"),
        "Double-stitched seams and corozo buttons; softens with every wash.",
    ),
    Shelf(
        ("Fashion", "Men", "T-Shirts"),
        _LOOMS,
        ("Everyday", "Pocket", "Polo", "Graphic"),
        ("T-Shirt", "Polo T-Shirt"),
        (349, 1099),
        {"size": SIZES, "colour": ("Black", "White", "Rust")},
        ("Combed cotton", "Cotton pique"),
        "180 gsm combed cotton that keeps its shape.",
    ),
    Shelf(
        ("Fashion", "Footwear", "Juttis"),
        ("Mojari Craft", "Padma", "Chaal"),
        ("Embroidered", "Mirror Work", "Tan Leather", "Velvet"),
        ("Jutti", "Mojari"),
        (599, 1999),
        {"size": ("UK 5", "UK 6", "UK 7", "UK 8")},
        ("Leather", "Vegan leather"),
        "Hand-stitched sole and a cushioned footbed.",
    ),
    Shelf(
        ("Fashion", "Footwear", "Running Shoes"),
        ("Chaal", "Daud", "Vega Stride"),
        ("Breeze", "Marathon", "Trail", "Daily"),
        ("Running Shoes", "Walking Shoes"),
        (1299, 4999),
        {"size": ("UK 7", "UK 8", "UK 9", "UK 10"), "colour": ("Black", "Grey")},
        ("Engineered mesh",),
        "Cushioned midsole and a grippy outsole for wet roads.",
    ),
    Shelf(
        ("Electronics", "Audio", "Headphones"),
        _SOUND,
        ("Wireless", "Noise Cancelling", "Studio", "Bass"),
        ("Headphones", "Earbuds", "Neckband"),
        (799, 8999),
        {"colour": ("Black", "White", "Midnight Blue")},
        ("ABS and silicone",),
        "Bluetooth 5.3, up to 40 hours of playback and fast charging.",
    ),
    Shelf(
        ("Electronics", "Audio", "Speakers"),
        _SOUND,
        ("Portable", "Party", "Bookshelf", "Mini"),
        ("Bluetooth Speaker", "Soundbar"),
        (1199, 14999),
        {"colour": ("Black", "Teal")},
        ("Recycled plastic", "Wood and fabric"),
        "Room-filling sound with a splash-proof body.",
    ),
    Shelf(
        ("Electronics", "Mobile Accessories", "Chargers"),
        ("Voltara", "Urja", "Sanchar"),
        ("20W", "33W", "65W", "Braided"),
        ("Fast Charger", "USB-C Cable"),
        (299, 2499),
        {"length": ("1 m", "2 m")},
        ("Polycarbonate", "Nylon"),
        "Certified for Indian voltage, with protection against surges and heat.",
    ),
    Shelf(
        ("Electronics", "Mobile Accessories", "Power Banks"),
        ("Voltara", "Urja"),
        ("Slim", "Rugged", "Pocket"),
        ("Power Bank",),
        (899, 3499),
        {"capacity": ("10000 mAh", "20000 mAh")},
        ("Aluminium", "ABS"),
        "Charges two devices at once and fits in a cabin bag.",
    ),
    Shelf(
        ("Electronics", "Wearables", "Smartwatches"),
        ("Samay", "Voltara", "Nadi"),
        ("Active", "Classic", "Pro", "Lite"),
        ("Smartwatch", "Fitness Band"),
        (1499, 9999),
        {"colour": ("Black", "Rose Gold", "Silver")},
        ("Aluminium", "Zinc alloy"),
        "AMOLED display, heart-rate and sleep tracking, calls on the wrist.",
    ),
    Shelf(
        ("Home & Kitchen", "Cookware", "Kadhais"),
        _HEARTH,
        ("Cast Iron", "Triply Steel", "Hard Anodised"),
        ("Kadhai", "Tawa", "Handi"),
        (899, 3999),
        {"size": ("20 cm", "24 cm", "28 cm")},
        ("Cast iron", "Triply steel", "Aluminium"),
        "Pre-seasoned and good on gas and induction.",
    ),
    Shelf(
        ("Home & Kitchen", "Cookware", "Pressure Cookers"),
        _HEARTH,
        ("Inner Lid", "Outer Lid", "Induction Base"),
        ("Pressure Cooker",),
        (1299, 4499),
        {"capacity": ("3 L", "5 L", "7.5 L")},
        ("Stainless steel", "Aluminium"),
        "ISI marked, with a visual pressure indicator.",
    ),
    Shelf(
        ("Home & Kitchen", "Dining", "Bottles & Tiffins"),
        _HEARTH,
        ("Copper", "Insulated", "Stackable", "Leak Proof"),
        ("Water Bottle", "Tiffin Box"),
        (349, 1899),
        {"size": ("Small", "Large")},
        ("Copper", "Stainless steel"),
        "Keeps dal hot until lunch and water cool until evening.",
    ),
    Shelf(
        ("Home & Kitchen", "Furnishing", "Bedsheets"),
        ("Aangan", "Nidra", "Kaveri Loom"),
        ("Sanganeri Print", "Jaipuri", "Percale", "Dohar Style"),
        ("Bedsheet Set", "Quilt"),
        (799, 4299),
        {"size": ("Single", "Double", "King"), "colour": ("Blue", "Pink", "Green")},
        ("Cotton", "Cotton percale"),
        "Colour-fast prints; the set has two pillow covers.",
    ),
    Shelf(
        ("Home & Kitchen", "Decor", "Lamps & Diyas"),
        ("Mitti & Co", "Jyoti Arts"),
        ("Brass", "Terracotta", "Hand Painted"),
        ("Diya Set", "Table Lamp", "Lantern"),
        (249, 3299),
        {},
        ("Brass", "Terracotta"),
        "Made by hand, so no two are quite alike.",
    ),
    Shelf(
        ("Grocery", "Staples", "Rice & Flour"),
        ("Annapurna Fields", "Khet Se"),
        ("Aged Basmati", "Sona Masoori", "Stone Ground", "Multigrain"),
        ("Rice", "Atta"),
        (149, 999),
        {"weight": ("1 kg", "5 kg", "10 kg")},
        ("Vegetarian",),
        "Packed within a week of milling, straight from the mandi.",
    ),
    Shelf(
        ("Grocery", "Staples", "Spices"),
        ("Masala Gali", "Khet Se"),
        ("Kashmiri", "Malabar", "Guntur", "Organic"),
        ("Chilli Powder", "Turmeric", "Garam Masala", "Black Pepper"),
        (79, 549),
        {"weight": ("100 g", "250 g", "500 g")},
        ("Vegetarian",),
        "Single-origin, slow-ground and sealed for aroma.",
    ),
    Shelf(
        ("Grocery", "Beverages", "Tea & Coffee"),
        ("Himgiri", "Chikmagalur Roasters", "Annapurna Fields"),
        ("Assam CTC", "Darjeeling First Flush", "Masala", "Filter"),
        ("Tea", "Chai", "Coffee"),
        (149, 1299),
        {"weight": ("100 g", "250 g", "500 g")},
        ("Vegetarian",),
        "From small estates, with the plucking or roasting date on the pack.",
    ),
    Shelf(
        ("Beauty", "Skin Care", "Face Care"),
        _GREEN,
        ("Ubtan", "Saffron", "Neem", "Aloe"),
        ("Face Wash", "Face Cream", "Serum"),
        (199, 1499),
        {"volume": ("50 ml", "100 ml")},
        ("Cruelty free",),
        "Free of parabens and sulphates; tested for Indian summers.",
    ),
    Shelf(
        ("Beauty", "Hair Care", "Hair Oils"),
        _GREEN,
        ("Bhringraj", "Amla", "Coconut", "Onion"),
        ("Hair Oil", "Shampoo"),
        (149, 899),
        {"volume": ("100 ml", "200 ml", "400 ml")},
        ("Cruelty free",),
        "Cold-pressed and light on the scalp.",
    ),
    Shelf(
        ("Sports", "Cricket", "Bats"),
        ("Sixer", "Maidan"),
        ("Kashmir Willow", "English Willow", "Tennis"),
        ("Cricket Bat", "Junior Cricket Bat"),
        (699, 15999),
        {"size": ("5", "6", "Short Handle")},
        ("Willow",),
        "Hand-pressed blade with a full profile and a thick edge.",
    ),
    Shelf(
        ("Sports", "Yoga", "Mats & Props"),
        ("Asana", "Ojas"),
        ("Natural Rubber", "Cork", "Anti Slip"),
        ("Yoga Mat", "Yoga Block"),
        (399, 2999),
        {"thickness": ("4 mm", "6 mm")},
        ("Rubber", "Cork", "TPE"),
        "Grips when it matters and rolls up small.",
    ),
)
