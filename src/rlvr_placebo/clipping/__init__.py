"""The clipping laboratory: does clipping carry a learning signal where rewards carry none?"""
