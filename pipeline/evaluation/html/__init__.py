"""The report as one HTML file: elements, charts as SVG, sections, the page. Nothing is fetched from elsewhere."""
